"""What is taken over from other runs: matching weights, of which later ones win, and factors of variances."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from handviz.core.errors import ErrorCode
from handviz.core.records import CROP_SIZE
from handviz.data.synthetic.dataset import Crops
from handviz.evaluation.evaluate import mediapipe_by_part
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.amvur.model import ModelConfig, build_model
from handviz.models.amvur.training import train
from handviz.models.amvur.training_checkpoint import load_checkpoint, predictor
from handviz.models.amvur.training_config import TrainConfig
from handviz.training.checkpoint import VARIANCE_SCALES, add_metadata, save_checkpoint
from tests.errors import raises
from tests.small_trainings import SMALL, amvur_run, assert_same, run_steps

pytestmark = pytest.mark.slow

PLAIN = ModelConfig(width=16, regressor_width=16, features="global")
FACTORS = dict(zip(VARIANCE_SCALES, (1.3, 0.8), strict=True))


def saved(folder: Path, config: ModelConfig, seed: int) -> Path:
    """Save a checkpoint of random weights, the backbone's too."""
    torch.manual_seed(seed)
    template = load_open_hand()
    model = build_model(config, template)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.01)
    return save_checkpoint(folder, model, config, {}, template, {}, family="amvur")


def test_matching_weights_of_every_variant_are_taken_and_later_ones_win(tmp_path: Path, cached_hands: Path) -> None:
    joint = saved(tmp_path / "joint", PLAIN, 1)
    prior = saved(tmp_path / "prior", replace(PLAIN, variant="prior"), 2)
    config = TrainConfig((cached_hands,), tmp_path / "run", PLAIN, batch_size=4, limit=4, start_from=(joint, prior))
    state = amvur_run(config, load_open_hand()).task.network.state_dict()
    sources = {}
    for name, folder in (("joint", joint), ("prior", prior)):
        sources[name] = load_file(folder / "model.safetensors")
    assert torch.equal(state["heads.prior.regress.0.weight"], sources["prior"]["heads.prior.regress.0.weight"])
    assert torch.equal(state["backbone.first.weight"], sources["prior"]["backbone.first.weight"])
    assert torch.equal(state["heads.amvur.mean.0.weight"], sources["joint"]["heads.amvur.mean.0.weight"])


def test_a_backbone_can_start_from_another_run(config, template, tmp_path):
    source = amvur_run(replace(config, epochs=1, head_rate=0.0, tail_rate=0.1), template)
    run_steps(source)
    source.save()
    next_config = replace(config, model=replace(SMALL, variant="prior"), backbone_from=config.run / "last")
    started = amvur_run(next_config, template)
    assert_same(started.task.network.backbone.state_dict(), source.task.network.backbone.state_dict())
    other = replace(SMALL, variant="prior", backbone="efficientnet_b0")
    save_checkpoint(tmp_path / "other", build_model(other, template), other, {}, template, {}, family="amvur")
    with raises(ErrorCode.MODEL_MISMATCH, match="efficientnet_b0"):
        amvur_run(replace(config, backbone_from=tmp_path / "other"), template)


def test_a_model_can_start_from_other_variants(config, template):
    """Weights of the same name and shape are taken over, from the last checkpoint that has them."""
    models = {}
    for variant in ("prior", "amvur"):
        torch.manual_seed(len(variant))
        models[variant] = build_model(replace(SMALL, variant=variant), template)
        save_checkpoint(
            config.run / variant, models[variant], replace(SMALL, variant=variant), {}, template, {}, family="amvur"
        )
    plain = replace(SMALL, conditioning="rest")
    start = replace(config, model=plain, start_from=(config.run / "prior", config.run / "amvur"))
    heads = amvur_run(start, template).task.network.heads
    for part, source in (("prior", "prior"), ("amvur", "amvur"), ("camera", "amvur")):
        assert_same(getattr(heads, part).state_dict(), getattr(models[source].heads, part).state_dict())


def test_mediapipe_itself_is_measured_on_the_same_crops(rendered_hands: Path) -> None:
    found = mediapipe_by_part([Crops(rendered_hands, 16)], load_open_hand())
    assert 5 < found.everything < 60


@pytest.fixture
def calibrated(config, template):
    """Return a checkpoint without a covariance, whose variances have factors."""
    torch.manual_seed(3)
    plain = replace(SMALL, rank=0)
    notes = {"samples_seen": 5, "train": {"loss": {"vertex_correlation": 0.95}}, **FACTORS}
    return save_checkpoint(
        config.run / "calibrated", build_model(plain, template), plain, notes, template, {}, family="amvur"
    )


def factors_in(folder, template):
    """Return the factors in the notes of a checkpoint."""
    notes = load_checkpoint(folder, template)[2]
    return {name: notes[name] for name in VARIANCE_SCALES if name in notes}


def test_a_covariance_trained_alone_keeps_the_factors_of_variances(config, template, calibrated):
    alone = replace(config, tail_rate=0.0, covariance_only=True, start_from=(calibrated,), epochs=1)
    last = train(alone, template)
    assert factors_in(last, template) == FACTORS
    images = np.random.default_rng(6).integers(0, 256, (2, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    before, after = (predictor(folder, template)(images) for folder in (calibrated, last))
    for one, other in zip(before, after, strict=True):
        for name in ("vertices_m", "keypoints_m", "vertex_std_m", "keypoint_std_m"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
        assert (one.keypoint_covariance_m2 is None, other.keypoint_covariance_m2 is None) == (True, False)
    # A run that goes on keeps those of its own checkpoint, which may have been fitted since.
    add_metadata(last, {VARIANCE_SCALES[0]: 2.5})
    train(replace(alone, epochs=2), template)
    notes = load_checkpoint(last, template)[2]
    assert (notes["step"], factors_in(last, template)) == (4, FACTORS | {VARIANCE_SCALES[0]: 2.5})


def test_factors_of_variances_that_no_longer_hold_are_not_kept(config, template, calibrated):
    alone = replace(config, tail_rate=0.0, covariance_only=True, start_from=(calibrated,))
    of_prior = replace(SMALL, variant="prior")
    prior = save_checkpoint(
        config.run / "prior", build_model(of_prior, template), of_prior, FACTORS, template, {}, family="amvur"
    )
    for wrong in (
        {"covariance_only": False},
        {"model": replace(SMALL, blocks=2)},
        {"start_from": (calibrated, prior)},
        {"start_from": (prior,)},
    ):
        assert amvur_run(replace(alone, **wrong), template).task.kept_notes == {}, wrong
    assert amvur_run(replace(alone, start_from=(prior, calibrated)), template).task.kept_notes == FACTORS


def test_damaged_factors_of_variances_are_said(config, template, calibrated):
    add_metadata(calibrated, {VARIANCE_SCALES[1]: "much"})
    with raises(ErrorCode.BAD_VALUE, ErrorCode.FILE_DAMAGED, match=VARIANCE_SCALES[1]):
        amvur_run(replace(config, tail_rate=0.0, covariance_only=True, start_from=(calibrated,)), template)


def test_an_exported_file_has_factors_of_variances_too(config, template, small_model):
    _, of_file, notes = amvur_run(config, template).task.load(small_model.onnx)
    assert notes.keys() == {"samples_seen", *VARIANCE_SCALES}
    alone = replace(config, model=of_file, tail_rate=0.0, covariance_only=True, start_from=(small_model.onnx,))
    assert amvur_run(alone, template).task.kept_notes == {name: notes[name] for name in VARIANCE_SCALES}
