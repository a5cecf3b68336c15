"""Weights taken over from other runs: matching ones only, later checkpoints win."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from handviz.core.errors import ErrorCode
from handviz.data.synthetic.dataset import Crops
from handviz.evaluation.evaluate import mediapipe_by_part
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.amvur.model import ModelConfig, build_model
from handviz.models.amvur.training_config import TrainConfig
from handviz.training.checkpoint import save_checkpoint
from tests.errors import raises
from tests.small_trainings import SMALL, amvur_run, assert_same, run_steps

pytestmark = pytest.mark.slow

PLAIN = ModelConfig(width=16, regressor_width=16, features="global")


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
