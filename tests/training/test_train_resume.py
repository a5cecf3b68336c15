"""Going on where a run stopped: the straight run to the bit, and nothing but the same run."""

from dataclasses import replace

import pytest
import torch

from handviz.core.errors import ErrorCode
from handviz.training.trainer import RunLog
from tests.errors import raises
from tests.small_trainings import SMALL, amvur_run, assert_same, run_steps, straight_losses

pytestmark = pytest.mark.slow


def test_going_on_is_the_straight_run_to_the_bit(config, template):
    assert len(straight_losses(config, template, stopped_after=2)) == 4


def test_going_on_is_the_straight_run_where_the_likelihood_comes_later(config, template):
    """The schedule depends on the step: squares until the third of four steps, before and after the stop."""
    config = replace(config, loss=replace(config.loss, likelihood_from=0.7, beta=0.5, rotation=1.0))
    losses = straight_losses(config, template, stopped_after=2)
    plain = amvur_run(
        replace(config, run=config.run / "plain", loss=replace(config.loss, likelihood_from=0.0)), template
    )
    assert run_steps(plain, 1) != losses[:1]


def test_going_on_in_the_middle_of_an_epoch_takes_the_other_samples(config, template):
    trainer = amvur_run(config, template)
    whole = list(trainer.batches())
    assert len(whole) == 4
    for epoch in (whole[:2], whole[2:]):
        assert sorted(torch.cat(epoch).tolist()) == list(range(8))
    assert not torch.equal(torch.cat(whole[:2]), torch.cat(whole[2:]))
    for step in range(4):
        trainer.step = step
        left = list(trainer.batches())
        assert len(left) == 4 - step
        assert all(torch.equal(one, other) for one, other in zip(left, whole[step:], strict=True))


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_the_checkpoint(config, template):
    trainer = amvur_run(config, template)
    run_steps(trainer, 2)
    trainer.save()
    before = {path.name: path.read_bytes() for path in (config.run / "last").iterdir()}
    weights = {name: value.clone() for name, value in trainer.task.network.state_dict().items()}
    trainer.task.samples.truth.vertices_cm[3:] = torch.nan
    with raises(ErrorCode.NOT_FINITE, match=r"step 2.*last checkpoint is intact"):
        run_steps(trainer)
    assert_same(trainer.task.network.state_dict(), weights)
    assert {path.name: path.read_bytes() for path in (config.run / "last").iterdir()} == before
    resumed = amvur_run(config, template)
    resumed.resume()
    assert len(run_steps(resumed)) == 2


@pytest.mark.parametrize("text", ["step,loss\n,1\n", "step,loss\nEve,1\n", "step,loss\nnan,1\n", "name,age\nEve,7\n"])
def test_a_foreign_log_is_said(tmp_path, text):
    path = tmp_path / "log.csv"
    path.write_text(text, encoding="utf-8")
    with raises(ErrorCode.FILE_DAMAGED):
        RunLog(path).keep_until(4)


def test_a_run_of_another_model_or_another_way_is_not_resumed(config, template):
    amvur_run(config, template).save()
    with raises(ErrorCode.FOLDER_TAKEN, match="another model"):
        amvur_run(replace(config, model=replace(SMALL, width=32)), template).resume()
    with raises(ErrorCode.FOLDER_TAKEN, match="another way"):
        amvur_run(replace(config, tail_rate=0.0), template).resume()
