"""Which outputs train the image feature, and with it the backbone: those of prior-net, AMVUR and camera net."""

from dataclasses import fields, replace

import pytest
import torch

from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.features import ImageFeatures
from handviz.models.amvur.model import ModelConfig, Variant, build_model
from handviz.models.amvur.training import only_keypoints
from handviz.models.truth import Truth

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
