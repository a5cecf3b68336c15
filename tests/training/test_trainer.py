"""The one loop, on a network of four numbers: what it takes from a task, and that it does so in the right order."""

import copy

import numpy as np
import pytest
import torch

from handviz.training.config import LoopConfig
from handviz.training.trainer import LossNotFiniteError, Task, Trainer, learning_rate_factor, parameter_group

CONFIG = LoopConfig(epochs=3, batch_size=4, warm_up_steps=2, gradient_norm=0.5, weight_decay=0.1, checkpoint_every=None)


class Line(Task):
    """A line through ten points."""

    def __init__(self, config=CONFIG, *, drop_last=True):
        generator = torch.Generator().manual_seed(1)
        self.config, self.drop_last = config, drop_last
        self.samples = torch.randn(10, 3, generator=generator)
        torch.manual_seed(0)
        self.network = torch.nn.Linear(3, 1)
        self.groups = [parameter_group([self.network.weight], 0.1), parameter_group([self.network.bias], 0.02)]
        self.seen, self.validations = [], []

    def loss_terms(self, ids, step):
        self.seen.append(ids)
        found = self.network(self.samples[ids])[:, 0]
        return {"points": (found - 5 * self.samples[ids].sum(1)).square().mean(), "size": found.square().mean()}

    def validate(self):
        self.validations.append((len(self.seen), self.network.training, torch.is_grad_enabled()))
        return {}


def test_the_loop_is_the_one_of_the_textbook():
    """Against the same steps written one after the other."""
    task = Line()
    slow = copy.deepcopy(task)
    Trainer(task).fit()
    groups = [{"params": [slow.network.weight]}, {"params": [slow.network.bias]}]
    optimiser = torch.optim.AdamW(groups, lr=1.0, weight_decay=0.1)
    for step, ids in enumerate(task.seen):
        loss = sum(slow.loss_terms(ids, step).values())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(slow.network.parameters(), 0.5)
        for group, rate in zip(optimiser.param_groups, (0.1, 0.02), strict=True):
            group["lr"] = rate * learning_rate_factor(step, 6, 2)
        optimiser.step()
    for mine, other in zip(task.network.parameters(), slow.network.parameters(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize(("drop_last", "sizes"), [(True, [4, 4] * 3), (False, [4, 4, 2] * 3)])
def test_every_epoch_takes_all_samples_in_another_order(drop_last, sizes):
    task = Line(drop_last=drop_last)
    trainer = Trainer(task)
    trainer.fit()
    assert [len(ids) for ids in task.seen] == sizes
    assert trainer.step == trainer.total_steps == len(sizes)
    epochs = torch.cat(task.seen).view(3, -1)
    assert all(len(set(epoch.tolist())) == epochs.shape[1] for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    # Once an epoch, in evaluation mode and without gradients.
    count = len(sizes) // 3
    assert task.validations == [(count * epoch, False, False) for epoch in (1, 2, 3)]
    assert task.network.training


def test_a_task_that_is_finished_ends_the_loop():
    task = Line()
    trainer = Trainer(task)

    def validate():
        task.finished = trainer.step == 4
        return {}

    task.validate = validate
    trainer.fit()
    assert trainer.step == 4


@pytest.mark.parametrize("wrong", ["left out", "twice", "frozen"])
def test_a_parameter_that_is_in_no_group_or_in_two_is_an_error(wrong):
    task = Line()
    if wrong == "left out":
        task.groups.pop()
    elif wrong == "twice":
        task.groups.append(parameter_group([task.network.bias], 0.1))
    else:
        task.network.bias.requires_grad_(False)
    with pytest.raises(AssertionError):
        Trainer(task)


def test_a_loss_that_is_not_finite_moves_nothing():
    task = Line()
    trainer = Trainer(task)
    before = copy.deepcopy(task.network.state_dict())
    task.samples[:] = torch.inf
    with pytest.raises(LossNotFiniteError, match="at step 0"):
        trainer.fit()
    assert all(torch.equal(value, before[name]) for name, value in task.network.state_dict().items())


def test_the_rate_warms_up_and_falls_to_zero():
    factors = [learning_rate_factor(step, 100, 10) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)
    assert (np.diff(factors[10:]) < 0).all()
    assert learning_rate_factor(0, 1, 0) == 1
