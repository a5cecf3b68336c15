"""The trainer: a ``Task`` defines network, samples and loss; the loop is the same for all.

A ``Trainer`` takes the steps; a ``Run`` is a trainer with a folder, where it logs, saves and resumes. A resumed run
equals an uninterrupted one to the bit: the order of samples depends on seed and epoch alone.
"""

import csv
import io
import logging
import math
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from handviz.core.errors import ErrorCode, HandvizError, write_error_code
from handviz.core.files import make_folder, write_files
from handviz.hand_models.template import HandTemplate
from handviz.training.checkpoint import Architecture, load_network, load_resume_state, recovered, save_checkpoint
from handviz.training.config import LoopConfig, RunConfig, as_metadata, changes
from handviz.training.distributed import ALONE, Processes

logger = logging.getLogger(__name__)
LAST = "last"


def parameter_group(parameters: Iterable[nn.Parameter], rate: float) -> dict[str, Any]:
    """Return an optimiser group; ``rate`` is its full learning rate, ``lr`` that of a step."""
    return {"params": list(parameters), "lr": rate, "rate": rate}


class Task(ABC):
    """Network, samples and loss of a training."""

    config: LoopConfig
    network: nn.Module
    """Its parameters that require a gradient are trained, each in one of ``groups``"""
    groups: list[dict[str, Any]]
    samples: Sized
    drop_last = True
    """Whether an epoch leaves out the samples that do not fill a batch"""
    processes: Processes = ALONE
    total_steps = 1
    """Of the whole training; the trainer sets it"""
    finished = False
    """Set by ``validate`` once no further step is of use"""

    @abstractmethod
    def loss_terms(self, ids: Tensor, step: int) -> dict[str, Tensor]:
        """Return every weighted term of the loss of a batch, given by its samples' numbers."""

    def order(self, epoch: int) -> Tensor:
        """Return the numbers of an epoch's samples in the order of their use, by seed and epoch alone."""
        generator = torch.Generator().manual_seed(self.config.seed * 1000 + epoch)
        return torch.randperm(len(self.samples), generator=generator)

    def validate(self) -> dict[str, float]:
        """Return the validation errors; the network is in evaluation mode, without gradients."""
        return {}


class RunTask(Task):
    """A task whose training lies in a folder."""

    config: RunConfig
    architecture: Architecture[Any, Any]
    """Of the family whose network it is: builds it, and reads its checkpoints"""
    model_config: object
    """A dataclass, from which the network is built again"""
    template: HandTemplate
    seen_before = 0
    """Samples from which the initial weights have learned"""
    kept_notes: Mapping[str, Any] = MappingProxyType({})
    """Notes of the checkpoint that it started from which the run's own checkpoints repeat"""

    def load(self, directory: Path) -> tuple[nn.Module, object, dict[str, Any]]:
        """Return the network, its config and the notes of a checkpoint; HandvizError if it is none of this family."""
        return load_network(directory, self.template, self.architecture)

    def check_resumable(self, saved: nn.Module, checkpoint: Path) -> None:
        """Raise HandvizError if the run started with other frozen weights than this command's."""

    def notes_to_keep(self, config: object, notes: dict[str, Any]) -> dict[str, Any]:
        """Return those notes of a checkpoint with this network's config that stay true while this task trains."""
        return {}

    def start_from(self, directory: Path) -> None:
        """Take over every weight of a checkpoint that has the same name and shape."""
        source, config, notes = self.load(directory)
        own = self.network.state_dict()
        known = {k: v for k, v in source.state_dict().items() if k in own and v.shape == own[k].shape}
        if not known:
            raise HandvizError(
                f"{directory} has no weight in common with {self.model_config}", ErrorCode.MODEL_MISMATCH
            )
        self.network.load_state_dict(known, strict=False)
        self.seen_before = max(self.seen_before, int(notes.get("samples_seen", 0)))
        # Not those of an earlier one, of whose weights some were replaced.
        self.kept_notes = self.notes_to_keep(config, notes)


class LossNotFiniteError(HandvizError):
    """A loss that is infinite or not a number."""


def learning_rate_factor(step: int, total: int, warm_up: int) -> float:
    """Return the schedule's factor: linear warm-up, then half a cosine to zero."""
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1, total - warm_up))))


def assert_every_parameter_in_one_group(network: nn.Module, groups: list[dict[str, Any]]) -> None:
    """Raise AssertionError unless every trainable parameter, and no other, is in exactly one optimiser group."""
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(parameter) for parameter in network.parameters() if parameter.requires_grad}


class Trainer:
    """The loop over a task's batches, in one of its processes."""

    CHECKPOINT_STATE = ""
    """Added to the message about a loss that is not finite"""

    def __init__(self, task: Task) -> None:
        self.task, self.processes = task, task.processes
        assert_every_parameter_in_one_group(task.network, task.groups)
        self.optimiser = torch.optim.AdamW(task.groups, weight_decay=task.config.weight_decay)
        self.step = 0
        self.batch_size = task.config.batch_size * task.processes.count
        count = len(task.samples)
        self.steps_per_epoch = count // self.batch_size if task.drop_last else -(-count // self.batch_size)
        if not self.steps_per_epoch:
            raise HandvizError(f"{task.config.source} holds {count} samples, fewer than a batch", ErrorCode.EMPTY_INPUT)
        self.total_steps = task.total_steps = self.steps_per_epoch * task.config.epochs

    def batches(self) -> Iterator[Tensor]:
        """Yield the sample numbers of every remaining step, those of all processes together."""
        done = self.step
        for epoch in range(done // self.steps_per_epoch, self.task.config.epochs):
            batches = self.task.order(epoch).split(self.batch_size)[: self.steps_per_epoch]
            yield from batches[max(0, done - epoch * self.steps_per_epoch) :]

    def train_step(self, ids: Tensor) -> dict[str, float]:
        """Update the weights once; returns the loss terms. Raises HandvizError at a loss that is not finite."""
        terms = self.task.loss_terms(ids, self.step)
        values = torch.stack(list(terms.values()))
        of_all = self.processes.mean(values)
        # All processes see the same sum, so that all of them stop.
        if not torch.isfinite(of_all.sum()):
            raise LossNotFiniteError(
                f"the loss became {of_all.sum().item()} at step {self.step}{self.CHECKPOINT_STATE}: "
                "lower the learning rate or check the data",
                ErrorCode.NOT_FINITE,
            )
        self.optimizer_step(values.sum())
        self.step += 1
        return dict(zip(terms, of_all.detach().tolist(), strict=True))

    def optimizer_step(self, loss: Tensor) -> None:
        """Take one step down the loss's gradient, whose norm over all of the network is clipped."""
        config = self.task.config
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.task.network.parameters(), config.gradient_norm)
        factor = learning_rate_factor(self.step, self.total_steps, config.warm_up_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = group["rate"] * factor
        self.optimiser.step()

    def fit(self) -> None:
        """Take all remaining steps; a HandvizError after a stop signal says at which step the run resumes."""
        self.task.network.train()
        every = self.task.config.checkpoint_every or self.steps_per_epoch
        with self._stop() as stop, self._progress_bar() as bar:
            for ids in self.batches():
                terms = self.train_step(ids)
                bar.update(1)
                at_end, asked = self.step == self.total_steps, self.processes.any(stop.asked)
                if at_end or asked or self.step % every == 0:
                    bar.set_postfix_str(self.checkpoint(terms))
                if self.task.finished:
                    return
                if asked and not at_end:
                    raise HandvizError(
                        f"stopped at step {self.step}, saved: the same command resumes there", ErrorCode.CANCELLED
                    )

    def _stop(self) -> "AbstractContextManager[Stop]":
        return nullcontext(Stop())

    def _progress_bar(self) -> "tqdm[Any]":
        is_hidden = not self.processes.first
        return tqdm(total=self.total_steps, initial=self.step, unit="step", smoothing=0.05, disable=is_hidden)

    def checkpoint(self, terms: dict[str, float]) -> str:
        """Validate and record, in the first process; returns the text of the progress bar."""
        if not self.processes.first:
            return ""
        errors, loss = self.validate(), sum(terms.values())
        self.record({"loss": loss, **terms, **errors})
        return ", ".join(f"{name} {value:.4g}" for name, value in {"loss": loss, **errors}.items())

    def validate(self) -> dict[str, float]:
        """Return the task's validation errors."""
        self.task.network.eval()
        with torch.no_grad():
            errors = self.task.validate()
        self.task.network.train()
        return errors

    def record(self, row: dict[str, float]) -> None:
        """Record a checkpoint's errors; without a folder nothing is recorded."""


def complete_run(config: RunConfig, make_task: Callable[[], RunTask]) -> Path:
    """Train to the end, resuming an earlier run; returns the checkpoint's folder."""
    try:
        make_folder(config.run)
    except OSError as error:
        raise HandvizError(f"cannot make the folder {config.run} ({error})", write_error_code(error)) from error
    run = Run(make_task())
    run.resume()
    run.fit()
    return run.last


class Run(Trainer):
    """A trainer whose log and last checkpoint lie in a folder, from where it resumes."""

    CHECKPOINT_STATE = "; the last checkpoint is intact"
    task: RunTask

    def __init__(self, task: RunTask) -> None:
        super().__init__(task)
        self.last, self.log = task.config.run / LAST, RunLog(task.config.run / "log.csv")
        self.seen_before = task.seen_before

    @property
    def crops_seen(self) -> int:
        """Crops from which the weights have learned, including those of the runs that they started from."""
        return self.seen_before + self.step * self.batch_size

    def resume(self) -> None:
        """Resume from the run's last checkpoint if there is one; HandvizError if it is of another run."""
        with self.processes.first_before_others():
            recovered(self.last)
        if self.last.is_dir():
            self._resume()
            logger.info("resuming at step %d", self.step)
        if self.processes.first:
            self.log.keep_until(self.step)

    def _resume(self) -> None:
        task, last = self.task, self.last
        network, model_config, notes = task.load(last)
        if model_config != task.model_config:
            raise HandvizError(
                f"{last} holds another model ({model_config}): choose another run folder", ErrorCode.FOLDER_TAKEN
            )
        self._check_same_run(notes)
        task.check_resumable(network, last)
        task.network.load_state_dict(network.state_dict())
        task.kept_notes = {**task.kept_notes, **task.notes_to_keep(model_config, notes)}
        state = load_resume_state(last)
        try:
            # Older checkpoints of texture nets have it in their notes.
            batch_size = state.get("batch_size", notes.get("batch_size", self.batch_size))
            if batch_size != self.batch_size:
                raise ValueError(f"batches of {batch_size} in all processes, not {self.batch_size}")
            self._load_optimiser(state["optimiser"])
            self.step = int(state["step"])
            self.seen_before = max(0, notes.get("samples_seen", self.crops_seen) - self.step * self.batch_size)
        except (KeyError, TypeError, ValueError) as error:
            raise HandvizError(
                f"{last} was trained in another way ({error}): choose another run folder", ErrorCode.FOLDER_TAKEN
            ) from error

    def _check_same_run(self, notes: dict[str, Any]) -> None:
        """Raise HandvizError that names the settings in which this command differs from the run's start."""
        count = len(self.task.samples)
        differing = changes(self.task.config, notes.get("train"))
        if notes.get("samples", count) != count:
            differing.append(f"{notes['samples']} samples, not {count}")
        if differing:
            raise HandvizError(
                f"{self.last} was trained with {'; '.join(differing)}: "
                "give the same as before, or choose another run folder",
                ErrorCode.FOLDER_TAKEN,
            )

    def _load_optimiser(self, state: dict[str, Any]) -> None:
        """Take over the moments; rates and decay are this command's."""
        wanted = [{name: group[name] for name in ("rate", "weight_decay")} for group in self.optimiser.param_groups]
        self.optimiser.load_state_dict(state)
        for group, own in zip(self.optimiser.param_groups, wanted, strict=True):
            group.update(own)

    def record(self, row: dict[str, float]) -> None:
        """Write a row of the log, then its checkpoint."""
        self.log.add({"step": self.step, "crops_seen": self.crops_seen, **row})
        self.save()

    def save(self) -> None:
        """Write the run's last checkpoint."""
        task, family = self.task, self.task.architecture.family
        state = {"optimiser": self.optimiser.state_dict(), "step": self.step, "batch_size": self.batch_size}
        notes = {
            "step": self.step,
            "samples_seen": self.crops_seen,
            "samples": len(task.samples),
            "train": as_metadata(task.config),
            **task.kept_notes,
        }
        save_checkpoint(self.last, task.network, task.model_config, notes, task.template, state, family=family)

    def _stop(self) -> "AbstractContextManager[Stop]":
        return stop_at_signals()


class RunLog:
    """``log.csv`` of a run: one row per checkpoint, written completely or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[dict[str, str]]:
        """Return the rows so far; HandvizError unless every row has a step and as many cells as the header."""
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file, restkey="beyond"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, csv.Error) as error:
            raise HandvizError(f"{self.path} is damaged ({error}): move it away", ErrorCode.FILE_DAMAGED) from error
        if not all(_is_of_a_run(row) for row in rows):
            raise HandvizError(f"{self.path} is not the log of a run: move it away", ErrorCode.FILE_DAMAGED)
        return rows

    def keep_until(self, step: int) -> None:
        """Drop rows of steps after the last checkpoint, from a run that was killed in between."""
        rows = self.rows()
        remaining = [row for row in rows if float(row["step"]) <= step]
        if len(remaining) < len(rows):
            self._write(remaining)

    def add(self, row: dict[str, float]) -> None:
        """Append a row; HandvizError if it cannot be written."""
        self._write([*self.rows(), {name: _text(value) for name, value in row.items()}])

    def _write(self, rows: list[dict[str, str]]) -> None:
        names = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
        try:
            write_files({self.path: text.getvalue().encode("utf-8")})
        except HandvizError as error:
            raise HandvizError(
                f"cannot write {self.path} ({error}); the last checkpoint is intact", error.code
            ) from error


def _is_of_a_run(row: dict[str, str]) -> bool:
    try:
        step = float(row.get("step", ""))
    except (TypeError, ValueError):
        return False
    return math.isfinite(step) and "beyond" not in row and None not in row.values()


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


# Ctrl-C and SIGTERM end a run at the next step, after saving; a second one ends it at once.


class Stop:
    """Whether a signal asked to stop."""

    asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Record the signal; a second one acts at once."""
        self.asked = True
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)


@contextmanager
def stop_at_signals() -> Iterator[Stop]:
    """Watch for signals during a run; outside the main thread nothing is watched."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
