"""Shared by the tests of training: a narrow network, some steps of it, and weights that must be the same."""

import torch

from handviz.models.amvur.model import ModelConfig
from handviz.models.amvur.training import AmvurTask
from handviz.training.trainer import Run

SMALL = ModelConfig(width=16, regressor_width=16, feature_width=16, feature_layers=1)


def amvur_run(config, template):
    """Return a run of AMVUR that has not resumed."""
    return Run(AmvurTask(config, template))


def run_steps(trainer, count=None):
    """Return the loss of every step."""
    trainer.task.network.train()
    losses = []
    for ids in trainer.batches():
        losses.append(sum(trainer.train_step(ids).values()))
        if len(losses) == count:
            break
    return losses


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
