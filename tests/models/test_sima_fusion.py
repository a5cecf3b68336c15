"""SiMA-Hand's fusions of views and of branches (eqs. 1 to 3 and 5), each against slow loops in numpy."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handviz.models.sima_hand.fusion import (
    Attention,
    Enhancement,
    ImageFusion,
    JointFusion,
    VertexFusion,
    own_and_mean,
    target_first,
    view_statistics,
)

VIEWS, CHANNELS = 4, 6


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def awake(module: nn.Module) -> nn.Module:
    """Return a module in evaluation whose weights are none of them 0, with statistics of their own."""
    for number, value in enumerate(module.state_dict().values()):
        if value.is_floating_point():
            value.copy_(drawn(*value.shape, seed=number) * 0.3 + 0.05)
            if (value < 0).any() and value.ndim == 1:
                value.abs_()
    return module.eval()


def softmax(rows: np.ndarray) -> np.ndarray:
    raised = np.exp(rows - rows.max())
    return raised / raised.sum()


def mlp(module: nn.Sequential, vector: np.ndarray) -> np.ndarray:
    """Return what three 1 x 1 convolutions, two of them normalised, make of a pixel's numbers."""
    for conv, norm in ((module[0], module[1]), (module[3], module[4])):
        vector = conv.weight[:, :, 0, 0].detach().numpy() @ vector  # type: ignore[union-attr, index, operator]
        mean, variance = (part.numpy() for part in (norm.running_mean, norm.running_var))  # type: ignore[union-attr]
        scale, shift = (part.detach().numpy() for part in (norm.weight, norm.bias))  # type: ignore[union-attr]
        vector = np.maximum((vector - mean) / np.sqrt(variance + norm.eps) * scale + shift, 0)  # type: ignore[operator]
    last = module[6]
    return last.weight[:, :, 0, 0].detach().numpy() @ vector + last.bias.detach().numpy()  # type: ignore[union-attr, index, operator]


def test_the_image_fusion_as_printed_concatenates_the_target_first() -> None:
    fusion = awake(ImageFusion("concat", CHANNELS, 5, VIEWS))
    features = drawn(2, VIEWS, CHANNELS, 3, 3)
    found = fusion(features).detach().numpy()
    for view in range(VIEWS):
        order = [view, *(other for other in range(VIEWS) if other != view)]
        pixel = np.concatenate([features[1, other, :, 2, 0].numpy() for other in order])
        np.testing.assert_allclose(found[1, view, :, 2, 0], mlp(fusion.mixture, pixel), atol=1e-5)


def test_the_shared_image_fusion_reads_its_own_and_the_mean() -> None:
    fusion = awake(ImageFusion("shared", CHANNELS, 5, VIEWS))
    for views in (1, 2, VIEWS):
        features = drawn(2, views, CHANNELS, 3, 3)
        found, pixels = fusion(features).detach().numpy(), features[0, :, :, 1, 1].numpy()
        for view in range(views):
            pixel = np.concatenate([pixels[view], pixels.mean(axis=0)])
            np.testing.assert_allclose(found[0, view, :, 1, 1], mlp(fusion.mixture, pixel), atol=1e-5)


def test_shared_weights_are_the_printed_form_s_with_equal_weights_of_the_other_views() -> None:
    printed, shared = (awake(ImageFusion(kind, CHANNELS, 5, VIEWS)) for kind in ("concat", "shared"))
    own, other = drawn(5, CHANNELS, seed=1), drawn(5, CHANNELS, seed=2)
    printed.load_state_dict({  # type: ignore[arg-type]
        **shared.state_dict(), "mixture.0.weight": torch.cat([own, *[other] * (VIEWS - 1)], 1)[..., None, None]
    })  # fmt: skip
    # Own and others' weights, as weights of the own view and of the mean of all.
    shared.state_dict()["mixture.0.weight"].copy_(torch.cat([own - other, VIEWS * other], 1)[..., None, None])
    features = drawn(2, VIEWS, CHANNELS, 3, 3)
    torch.testing.assert_close(printed(features), shared(features), atol=1e-4, rtol=1e-4)


def test_the_joint_fusion_reads_maximum_mean_and_deviation() -> None:
    fusion = awake(JointFusion("statistics", CHANNELS, 5, VIEWS))
    features = drawn(2, VIEWS, CHANNELS, 3, 3)
    found, pixels = fusion(features).detach().numpy(), features[1, :, :, 0, 2].numpy()
    pixel = np.concatenate([pixels.max(axis=0), pixels.mean(axis=0), pixels.std(axis=0)])
    for view in range(VIEWS):
        np.testing.assert_allclose(found[1, view, :, 0, 2], mlp(fusion.mixture, pixel), atol=1e-4)


def test_one_view_has_finite_gradients_of_its_deviation() -> None:
    features = drawn(2, 1, CHANNELS, 3, 3).requires_grad_()
    view_statistics(features).sum().backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("kind", ["printed", "attention"])
def test_the_vertex_fusion_is_equation_3_in_either_reading(kind) -> None:
    features = drawn(2, VIEWS, 3, CHANNELS)
    found = VertexFusion(kind, CHANNELS, VIEWS)(features).numpy()
    for vertex in range(3):
        of_views = features[1, :, vertex].numpy().astype(np.float64)
        weighted = []
        for view in of_views:
            scores = softmax(np.array([view @ other for other in of_views]) / math.sqrt(CHANNELS))
            weighted.append(sum(score * other for score, other in zip(scores, of_views, strict=True)))
        if kind == "printed":
            expected = sum(score * view for score, view in zip(weighted, of_views, strict=True))
        else:
            expected = np.mean(weighted, axis=0)
        np.testing.assert_allclose(found[1, vertex], expected, atol=1e-5)


def test_vertices_are_pooled_or_concatenated() -> None:
    features = drawn(2, VIEWS, 3, CHANNELS)
    np.testing.assert_allclose(
        VertexFusion("pool", CHANNELS, VIEWS)(features), features.numpy().mean(axis=1), atol=1e-6
    )
    fusion = VertexFusion("concat", CHANNELS, VIEWS)
    assert fusion.linear is not None
    weight, bias = (part.detach().numpy() for part in (fusion.linear.weight, fusion.linear.bias))
    joined = np.concatenate([features[1, view, 2].numpy() for view in range(VIEWS)])
    np.testing.assert_allclose(fusion(features)[1, 2].detach().numpy(), weight @ joined + bias, atol=1e-5)


@pytest.mark.parametrize("kind", ["printed", "attention", "pool"])
def test_the_order_of_views_does_not_matter(kind) -> None:
    features, fusion = drawn(2, VIEWS, 3, CHANNELS), VertexFusion(kind, CHANNELS, VIEWS)
    torch.testing.assert_close(fusion(features), fusion(features.flip(1)), atol=1e-5, rtol=1e-5)
    maps = drawn(2, VIEWS, CHANNELS, 3, 3)
    image = awake(ImageFusion("shared", CHANNELS, 5, VIEWS))
    torch.testing.assert_close(image(maps).flip(1), image(maps.flip(1)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [ImageFusion, JointFusion])
def test_a_fusion_starts_as_none(kind) -> None:
    for name in ("concat", "statistics" if kind is JointFusion else "shared"):
        found = kind(name, CHANNELS, 5, VIEWS)(drawn(2, VIEWS, CHANNELS, 3, 3))
        assert float(found.detach().abs().max()) == 0


def test_helpers_name_the_axes_as_they_say() -> None:
    features = drawn(2, VIEWS, CHANNELS, 3, 3)
    assert target_first(features).shape == (2, VIEWS, VIEWS * CHANNELS, 3, 3)
    assert own_and_mean(features).shape == (2, VIEWS, 2 * CHANNELS, 3, 3)
    assert view_statistics(features).shape == (2, 3 * CHANNELS, 3, 3)


def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    mine, width = Attention(8, 8, 2, 0.0).eval(), 8
    theirs = nn.MultiheadAttention(width, 2, batch_first=True)
    with torch.no_grad():
        parts = [mine.query, mine.key, mine.value]
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        theirs.out_proj.weight.copy_(mine.out.weight)
        theirs.out_proj.bias.copy_(mine.out.bias)
    queries, tokens = drawn(3, 5, width), drawn(3, 7, width, seed=1)
    expected = nn.functional.layer_norm(queries + theirs(queries, tokens, tokens)[0], [width])
    torch.testing.assert_close(mine(queries, tokens), expected, atol=1e-5, rtol=1e-5)


def test_the_enhancement_lets_joints_ask_and_orientation_answer() -> None:
    torch.manual_seed(1)
    module = Enhancement("attention", 6, 8, inner=8, heads=2, dropout=0.0).eval()
    joint, orientation = drawn(2, 6, 3, 3), drawn(2, 8, 3, 3, seed=1)
    asking, answering = joint.flatten(2).transpose(1, 2), orientation.flatten(2).transpose(1, 2)
    asking = module.project(asking)
    asking, answering = module.of_joint(asking, asking), module.of_orientation(answering, answering)
    torch.testing.assert_close(module(joint, orientation), module.cross(asking, answering))
    # A permutation of what answers changes nothing; one of what asks goes through.
    turned = orientation.flip(3)
    torch.testing.assert_close(module(joint, turned), module(joint, orientation), atol=1e-5, rtol=1e-5)
    flipped = module(joint.flip(3), orientation).unflatten(1, (3, 3)).flip(2).flatten(1, 2)
    torch.testing.assert_close(flipped, module(joint, orientation), atol=1e-5, rtol=1e-5)


def test_without_attention_features_are_joined_or_left() -> None:
    joint, orientation = drawn(2, 6, 3, 3), drawn(2, 8, 3, 3, seed=1)
    sizes = {"inner": 8, "heads": 2, "dropout": 0.0}
    left = Enhancement("none", 6, 8, **sizes)(joint, orientation)
    assert torch.equal(left, orientation.flatten(2).transpose(1, 2))
    module = Enhancement("concat", 6, 8, **sizes)
    weight, bias = (part.detach().numpy() for part in (module.linear.weight, module.linear.bias))
    pixel = np.concatenate([joint[1, :, 2, 1].numpy(), orientation[1, :, 2, 1].numpy()])
    np.testing.assert_allclose(module(joint, orientation)[1, 7].detach().numpy(), weight @ pixel + bias, atol=1e-5)
