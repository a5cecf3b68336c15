"""The networks: documented shapes for every variant and backbone, and each part against its plain form."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from handviz.core.errors import ErrorCode
from handviz.core.gaussian import rotation_from_6d
from handviz.hand_models.layer import HandLayer
from handviz.models.amvur.features import ImageFeatures
from handviz.models.amvur.model import VARIANTS, ModelConfig, build_model
from handviz.models.amvur.network import (
    MAX_LOG_VARIANCE,
    MIN_LOG_VARIANCE,
    Amvur,
    CameraNet,
    DenseVertices,
    PriorNet,
    TokenLinear,
    TokenSettings,
    VertexAttention,
    attention,
    camera_vector,
)
from handviz.models.backbones.registry import BACKBONES
from handviz.models.memory import channels_last
from tests.errors import raises

SMALL = ModelConfig(width=32, regressor_width=32, feature_width=16, feature_layers=1)
FEATURE = 24
pytestmark = pytest.mark.usefixtures("seeded_torch")


@pytest.fixture
def feature():
    return torch.randn(2, FEATURE)


def amvur(template, *, coarse=True, on_base=False):
    """Return a small AMVUR whose outputs are not near zero."""
    net = Amvur(FEATURE, template, TokenSettings(width=16, heads=4, coarse=coarse, on_base=on_base))
    for layers in (net.mean, net.log_variance):
        nn.init.normal_(layers[-1].weight, std=0.5)
    return net.eval()


def random_features(config, template):
    """Return features that heads of this config could have for two crops."""
    net = build_model(config, template).features
    joints = torch.randn(2, 21, net.joint_width) if net.joint_width else None
    return ImageFeatures(torch.randn(2, net.feature_size), joints)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_every_variant_runs_on_every_backbone(template, variant, backbone):
    model = build_model(replace(SMALL, variant=variant, backbone=backbone), template).eval()
    output = model(torch.rand(2, 3, 224, 224))
    assert output.mean_cm.shape == output.log_variance.shape == (2, 778, 3)
    assert output.camera.mean.shape == output.camera.log_variance.shape == (2, 9)
    assert output.camera.rotation.shape == (2, 3, 3)
    assert output.camera.scale.shape == (2,)
    assert output.camera.translation.shape == (2, 2)
    assert (output.prior is None) == (variant == "amvur")
    if output.prior is not None:
        assert [part.shape for part in output.prior] == [(2, 45), (2, 10), (2, 778, 3)]
        assert (output.mean_cm is output.prior.vertices_cm) == (variant == "prior")
    assert all(part.isfinite().all() for part in (output.mean_cm, output.log_variance, *output.camera))


@pytest.mark.parametrize("tokens", ["coarse", "full"])
@pytest.mark.parametrize("conditioning", ["prior", "rest"])
@torch.no_grad()
def test_tokens_and_conditioning_are_as_asked_for(template, tokens, conditioning):
    config = replace(SMALL, tokens=tokens, conditioning=conditioning)
    heads = build_model(config, template).eval().heads
    assert heads.amvur.rest_tokens.shape == (1, 195 if tokens == "coarse" else 778, 3)
    assert heads.amvur.vertex_primary.of_position.in_features == (6 if conditioning == "prior" else 3)
    features = random_features(config, template)
    before = heads(features)
    assert before.mean_cm.shape == (2, 778, 3)
    nn.init.normal_(heads.prior.regress[-1].bias, std=0.5)
    moved = (heads(features).mean_cm - before.mean_cm).abs().max()
    assert moved > 0.5 if conditioning == "prior" else moved == 0


@torch.no_grad()
def test_a_fresh_network_answers_near_the_rest_pose(template):
    rest_cm = 100 * torch.from_numpy(template.vertices_m.copy())
    for variant in VARIANTS:
        model = build_model(replace(SMALL, variant=variant), template).eval()
        distance_cm = (model(torch.rand(1, 3, 224, 224)).mean_cm - rest_cm).norm(dim=2)
        assert distance_cm.mean() < 1.0


@torch.no_grad()
def test_what_is_cached_gives_what_the_image_gives(template):
    model, image = build_model(SMALL, template).eval(), torch.rand(2, 3, 224, 224)
    cached = model.cached(image)
    for known in (cached, model.seen(cached)):
        torch.testing.assert_close(model.from_cached(known).mean_cm, model(image).mean_cm)
    torch.testing.assert_close(channels_last(model)(image).mean_cm, model(image).mean_cm, rtol=1e-4, atol=1e-4)


def test_a_checkpoint_holds_what_is_learnt_and_nothing_of_the_hand(template):
    names = {variant: build_model(replace(SMALL, variant=variant), template).state_dict() for variant in VARIANTS}
    parts = {variant: {".".join(name.split(".")[:2]) for name in state} for variant, state in names.items()}
    heads = {variant: {part for part in chosen if part.startswith("heads")} for variant, chosen in parts.items()}
    assert heads == {
        "prior": {"heads.camera", "heads.prior", "heads.prior_log_variance", "heads.presence"},
        "amvur": {"heads.camera", "heads.amvur", "heads.presence"},
        "final": {"heads.camera", "heads.prior", "heads.amvur", "heads.presence"},
    }
    for state in names.values():
        assert not [name for name in state if "rest_" in name or "regressor" in name or "layer." in name]
        # The landmark head shares the stem with the backbone.
        assert not [name for name in state if name.startswith(("witness.backbone.first", "witness.backbone.stem"))]


# The parts against their plain forms.


@pytest.mark.parametrize("position_batch", [1, 3])
def test_token_linear_is_the_plain_layer_on_the_whole_token(position_batch):
    layer, feature = TokenLinear(5, 6, 7), torch.randn(3, 5)
    positions = torch.randn(position_batch, 11, 6)
    plain = nn.Linear(11, 7)
    with torch.no_grad():
        plain.weight.copy_(torch.cat([layer.of_feature.weight, layer.of_position.weight], dim=1))
        plain.bias.copy_(layer.of_feature.bias)
    tokens = torch.cat([feature[:, None].expand(3, 11, 5), positions.expand(3, 11, 6)], dim=2)
    torch.testing.assert_close(layer(feature, positions), plain(tokens))


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_the_softmax_written_out(heads):
    query, key, value = torch.randn(2, 5, 8), torch.randn(2, 7, 8), torch.randn(2, 7, 8)
    size, slow = 8 // heads, torch.zeros(2, 5, 8)
    for sample in range(2):
        for head in range(heads):
            columns = slice(head * size, (head + 1) * size)
            for token in range(5):
                scores = key[sample, :, columns] @ query[sample, token, columns] / size**0.5
                weights = scores.exp() / scores.exp().sum()
                slow[sample, token, columns] = weights @ value[sample, :, columns]
    torch.testing.assert_close(attention(query, key, value, heads), slow)


@torch.no_grad()
def test_amvur_is_cross_attention_then_self_attention_then_two_outputs(template, feature):
    """Equations 9 and 10 with tokens built in full."""
    net = amvur(template, coarse=False)

    def tokens(positions):
        return torch.cat([feature[:, None].expand(-1, positions.shape[1], -1), positions.expand(2, -1, -1)], dim=2)

    def linear(layer, values):
        weight = torch.cat([layer.of_feature.weight, layer.of_position.weight], dim=1)
        return values @ weight.T + layer.of_feature.bias

    vertices, joints = tokens(net.rest_cm[None] / 10), tokens(net.rest_keypoints / 10)
    asked, key, value = (
        linear(net.cross_query, vertices),
        linear(net.cross_key, joints),
        linear(net.cross_value, joints),
    )
    hidden = linear(net.vertex_primary, vertices) + attention(asked, key, value, 4)
    parts = net.self_query_key_value(net.before_self(hidden)).split(16, dim=2)
    hidden = net.before_output(hidden + attention(*parts, 4))
    output = net(feature)
    torch.testing.assert_close(output.mean_cm, net.rest_cm + net.mean(hidden))
    expected = net.log_variance(hidden).clamp(MIN_LOG_VARIANCE, MAX_LOG_VARIANCE)
    torch.testing.assert_close(output.log_variance, expected)


@torch.no_grad()
def test_coarse_tokens_are_lifted_by_the_template(template, feature):
    net = amvur(template)
    output, lift = net(feature), torch.from_numpy(template.full_from_coarse.copy())
    offset = output.mean_cm - net.rest_cm
    ids = torch.from_numpy(template.coarse_ids.copy()).long()
    assert offset.std() > 0.01
    torch.testing.assert_close(offset, lift @ offset[:, ids], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(output.log_variance, lift @ output.log_variance[:, ids], rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_log_variance_is_kept_between_its_limits(template, feature):
    net = amvur(template)
    nn.init.constant_(net.log_variance[-1].bias, 50.0)
    assert (net(feature).log_variance == MAX_LOG_VARIANCE).all()
    nn.init.constant_(net.log_variance[-1].bias, -50.0)
    assert (net(feature).log_variance == MIN_LOG_VARIANCE).all()


@torch.no_grad()
def test_with_a_base_mesh_the_mean_is_an_offset_from_it(template, feature):
    net = amvur(template, on_base=True)
    for layers in (net.mean, net.log_variance):
        nn.init.zeros_(layers[-1].weight)
    base_cm = torch.randn(2, 778, 3)
    torch.testing.assert_close(net(feature, base_cm).mean_cm, base_cm)


@torch.no_grad()
def test_the_prior_net_is_the_hand_layer_on_principal_components(template, feature):
    net = PriorNet(FEATURE, 16, template)
    nn.init.normal_(net.regress[-1].weight, std=0.3)
    output, raw = net(feature), net.regress(feature)
    torch.testing.assert_close(output.pose, raw[:, :45] @ torch.from_numpy(template.pose_components.copy()))
    torch.testing.assert_close(output.shape, raw[:, 45:])
    expected = HandLayer(template)(output.pose, output.shape).vertices_m
    torch.testing.assert_close(output.vertices_cm, 100 * expected)


@torch.no_grad()
def test_the_prior_s_own_uncertainty_is_one_number(template):
    config = replace(SMALL, variant="prior")
    heads = build_model(config, template).heads
    assert heads.prior_log_variance.shape == ()
    heads.prior_log_variance.fill_(-1.25)
    assert (heads(random_features(config, template)).log_variance == -1.25).all()
    assert build_model(SMALL, template).heads.prior_log_variance is None


# The camera.


@torch.no_grad()
def test_the_camera_turns_and_never_mirrors_and_its_scale_is_positive():
    net = CameraNet(FEATURE, 16)
    nn.init.normal_(net.mean.weight, std=2.0)
    camera = net(5 * torch.randn(50, FEATURE))
    identity = torch.eye(3).expand(50, 3, 3)
    torch.testing.assert_close(camera.rotation @ camera.rotation.transpose(1, 2), identity, rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.linalg.det(camera.rotation), torch.ones(50))
    assert (camera.scale > 0).all()
    torch.testing.assert_close(camera.translation, camera.mean[:, 7:])


def test_the_camera_s_vector_and_its_parts_are_each_other_s_inverse():
    rotation, scale = rotation_from_6d(torch.randn(4, 6)), torch.rand(4) + 0.01
    vector = camera_vector(rotation, scale, torch.randn(4, 2))
    net = CameraNet(FEATURE, 16)
    nn.init.zeros_(net.mean.weight)
    for row in range(4):
        with torch.no_grad():
            net.mean.bias.copy_(vector[row])
        camera = net(torch.randn(1, FEATURE))
        torch.testing.assert_close(camera.rotation[0], rotation[row])
        torch.testing.assert_close(camera.scale[0], scale[row])
        torch.testing.assert_close(camera.translation[0], vector[row, 7:])


def test_the_camera_s_uncertainty_does_not_push_the_image_feature():
    net, feature = CameraNet(FEATURE, 16), torch.randn(2, FEATURE, requires_grad=True)
    camera = net(feature)
    gradients = torch.autograd.grad(camera.log_variance.sum(), [feature, net.log_variance.bias], allow_unused=True)
    assert gradients[0] is None
    assert gradients[1].abs().sum() > 0


# What cannot be built.


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"variant": "best"}, "variant.*prior, amvur, final"),
        ({"backbone": "vgg"}, "backbone.*resnet50"),
        ({"tokens": "many"}, "tokens.*coarse, full"),
        ({"conditioning": ""}, "conditioning.*prior, rest"),
        ({"width": 4}, "width 4"),
        ({"width": 8192}, "width 8192"),
        ({"width": 30}, "multiples of heads 4"),
        ({"features": "rumours"}, "features.*joints, global"),
        ({"feature_width": 30}, "feature_width 30"),
        ({"feature_layers": 0}, "feature_layers 0"),
        ({"heads": 0}, "heads 0"),
        ({"regressor_width": 0}, "regressor_width 0"),
    ],
)
def test_a_model_that_is_none_is_said(change, named):
    with raises(ErrorCode.BAD_VALUE, ErrorCode.UNKNOWN_NAME, match=named):
        ModelConfig(**change)


# The forms of AMVUR in the paper's Table 5.


def vertex_net(template, kind, **options):
    """Return a small net of these options whose offsets are not near zero, from the same random weights."""
    torch.manual_seed(0)
    net = kind(FEATURE, template, TokenSettings(width=16, heads=4, coarse=True, **options))
    nn.init.normal_(net.mean[-1].weight, std=0.5)
    return net.eval()


@torch.no_grad()
@pytest.mark.parametrize("kind", [Amvur, VertexAttention])
def test_tokens_by_index_know_nothing_of_the_mesh(template, kind):
    """Another rest pose moves where offsets start from, not the offsets."""
    other = replace(template, vertices_m=template.vertices_m[::-1] * 1.3)
    feature = torch.randn(2, FEATURE)

    def offsets(hand, **options):
        net = vertex_net(hand, kind, **options)
        return net(feature).mean_cm - net.rest_cm

    difference = offsets(template, by_index=True) - offsets(other, by_index=True)
    assert difference.abs().max() < 1e-4
    assert (offsets(template) - offsets(other)).abs().max() > 0.1


@torch.no_grad()
def test_tokens_by_index_still_differ(template):
    net = vertex_net(template, VertexAttention, by_index=True)
    codes = net.rest_tokens[0]
    assert codes.shape[0] == 195
    assert torch.cdist(codes, codes).fill_diagonal_(9.0).min() > 0.1
    assert (net(torch.randn(1, FEATURE)).mean_cm - net.rest_cm).std(dim=1).min() > 0.01


@torch.no_grad()
def test_self_attention_hears_nothing_of_the_joints(template):
    for kind, hears in ((VertexAttention, False), (Amvur, True)):
        net, feature = vertex_net(template, kind), torch.randn(2, FEATURE)
        before = net(feature).mean_cm
        net.rest_keypoints += 3.0
        assert ((net(feature).mean_cm - before).abs().max() > 1e-3) == hears


@torch.no_grad()
def test_dense_layers_give_a_gaussian_near_the_rest_pose(template):
    net = DenseVertices(FEATURE, template, width=16)
    answer = net(torch.randn(3, FEATURE))
    assert answer.mean_cm.shape == answer.log_variance.shape == (3, 778, 3)
    assert (answer.mean_cm - net.rest_cm).abs().max() < 1.0


@pytest.mark.parametrize("change", [{"attention": "dense"}, {"positions": "index"}])
def test_a_base_mesh_needs_tokens_that_may_know_it(change):
    with raises(ErrorCode.OPTION_CONFLICT):
        ModelConfig(variant="final", conditioning="prior", **change)
    assert not ModelConfig(variant="amvur", conditioning="prior", **change).on_base


@pytest.mark.parametrize("change", [{"attention": "some"}, {"positions": "none"}])
def test_an_unknown_form_is_an_error(change):
    with raises(ErrorCode.UNKNOWN_NAME):
        ModelConfig(**change)
