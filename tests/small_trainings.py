"""Shared by the tests of training: a narrow network, some steps of it, equal weights, and crops without a hand."""

import shutil
from dataclasses import replace

import numpy as np
import torch

from handviz.data.synthetic.generator import labels_file
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


def straight_losses(config, template, stopped_after):
    """Return the losses of a straight run's steps; one that is stopped and resumed must be the same to the bit."""
    straight = amvur_run(config, template)
    losses = run_steps(straight)
    stopped = amvur_run(replace(config, run=config.run / "stopped"), template)
    first = run_steps(stopped, stopped_after)
    stopped.save()
    resumed = amvur_run(stopped.task.config, template)
    resumed.resume()
    assert resumed.step == stopped_after
    assert first + run_steps(resumed) == losses
    assert_same(resumed.task.network.state_dict(), straight.task.network.state_dict())
    for one, other in zip(resumed.optimiser.state.values(), straight.optimiser.state.values(), strict=True):
        assert_same(one, other)
    return losses


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def with_empty_crops(source, target):
    """Copy two shards of rendered hands, with labels by which every third crop shows no hand; return which (N,) do."""
    shutil.copytree(source, target)
    shows = []
    for shard in range(2):
        path = labels_file(target, shard)
        with np.load(path) as columns:
            labels = dict(columns)
        labels["is_hand"] = (np.arange(len(labels["scale"])) % 3 > 0).astype(labels["scale"].dtype)
        np.savez(path, **labels)
        shows.append(labels["is_hand"] > 0)
    return np.concatenate(shows)
