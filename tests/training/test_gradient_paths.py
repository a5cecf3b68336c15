"""Which outputs train the image feature, and with it the backbone: those of prior-net, AMVUR and camera net."""

from dataclasses import fields, replace

import pytest
import torch

from handviz.core.gaussian import rotation_from_6d
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.features import ImageFeatures
from handviz.models.amvur.loss_config import LossConfig
from handviz.models.amvur.losses import loss_terms
from handviz.models.amvur.model import Cached, ModelConfig, Variant, build_model
from handviz.models.amvur.training import only_keypoints
from handviz.models.landmark_numbers import LANDMARK_NUMBERS
from handviz.models.truth import Truth

BATCH = 2
NARROW = ModelConfig(width=16, regressor_width=16, feature_width=16, feature_layers=1)
OUTPUTS = {
    "prior": {"prior-net": True, "camera": True},
    "amvur": {"mean": True, "deviation": True, "camera": True},
    "final": {"mean": True, "deviation": True, "prior-net": True, "camera": True},
}


@pytest.mark.parametrize("conditioning", ["prior", "rest"])
@pytest.mark.parametrize("variant", OUTPUTS)
def test_every_part_trains_the_image_feature(
    template: HandTemplate, seeded_torch: None, variant: Variant, conditioning: str
) -> None:
    """Joint training (Algorithm 1): the feature is one for all parts, none of which takes it as given."""
    model = build_model(replace(NARROW, variant=variant, conditioning=conditioning), template)
    feature = torch.randn(2, model.features.feature_size, requires_grad=True)
    output = model.heads(ImageFeatures(feature, torch.randn(2, 21, 16)))
    parts = {"mean": output.mean_cm, "deviation": output.log_variance, "camera": output.camera.mean}
    if output.prior is not None:
        parts["prior-net"] = output.prior.vertices_cm
    if variant == "prior":
        del parts["mean"], parts["deviation"]
    found = {}
    for name, values in parts.items():
        (gradient,) = torch.autograd.grad(values.square().sum(), feature, retain_graph=True, allow_unused=True)
        found[name] = gradient is not None and bool((gradient.abs().sum(dim=1) > 0).all())
    assert found == OUTPUTS[variant]


@pytest.mark.parametrize("features", ["joints", "global"])
@pytest.mark.parametrize(
    ("variant", "term"),
    [
        ("final", "kl"),
        ("final", "prior"),
        ("final", "vertices"),
        ("final", "camera"),
        ("prior", "vertices"),
        ("amvur", "vertices"),
    ],
)
def test_trunk_and_heads_are_trained_together(
    template: HandTemplate, seeded_torch: None, variant: Variant, term: str, features: str
) -> None:
    """Algorithm 1: what the prior-net, or AMVUR, has wrong moves the backbone and the features before it too."""
    model = build_model(replace(NARROW, variant=variant, features=features), template)
    model.requires_grad_(True)
    landmarks = torch.rand(BATCH, LANDMARK_NUMBERS) if features == "joints" else None
    mesh = 100 * torch.from_numpy(template.vertices_m.copy()).expand(BATCH, -1, -1) + torch.randn(BATCH, 778, 3)
    rotation = rotation_from_6d(torch.randn(BATCH, 6))
    truth = Truth(mesh, torch.rand(BATCH, 21, 2) - 0.5, rotation, torch.full((BATCH,), 0.09), torch.zeros(BATCH, 2))
    output = model.from_cached(Cached(torch.rand(BATCH, 112, 14, 14), landmarks))
    if term in ("kl", "prior"):
        # By the prior-net's part of it alone.
        output = output._replace(mean_cm=output.mean_cm.detach(), log_variance=output.log_variance.detach())
    regressor = torch.from_numpy(template.keypoint_regressor.copy())
    found = loss_terms(variant)(output, truth, regressor, LossConfig(), 1.0, None)[term]
    trunk = [*model.backbone.last_depthwise.parameters(), *model.features.parameters()]
    gradients = torch.autograd.grad(found, trunk, allow_unused=True)
    assert any(gradient is not None and gradient.any() for gradient in gradients[:1]), "backbone"
    if features == "joints":
        assert any(gradient is not None and gradient.any() for gradient in gradients[2:]), "features"


def test_weak_training_is_given_nothing_but_2d_joints() -> None:
    """What is known in 3D is nan, so that a term that read it would stop the training."""
    truth = Truth(
        vertices_cm=torch.ones(2, 5, 3),
        keypoints_crop=torch.rand(2, 21, 2),
        rotation=torch.eye(3).expand(2, 3, 3),
        scale_per_cm=torch.ones(2),
        translation=torch.zeros(2, 2),
    )
    known = only_keypoints(truth)
    assert torch.equal(known.keypoints_crop, truth.keypoints_crop)
    for item in fields(truth):
        value = getattr(known, item.name)
        if item.name != "keypoints_crop" and value.is_floating_point():
            assert value.isnan().all(), item.name
            assert value.shape == getattr(truth, item.name).shape
    assert truth.vertices_cm.isfinite().all()
