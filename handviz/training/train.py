"""The training loop: samples in, a variant's heads and as much of the backbone as the config says out.

One config, saved beside the checkpoint. A resumed run is the straight run to the bit: the order of samples depends on
seed and epoch alone. Cached maps or pictures, one process or several: the loop is the same.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from handviz.core.errors import HandvizError
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.losses import Truth, loss_terms
from handviz.models.amvur.memory import channels_last
from handviz.models.amvur.model import Cached, HandModel, ModelOutput, build_model
from handviz.models.amvur.weak_losses import pose_prior
from handviz.models.backbones.imagenet_backbones import load_torchvision_weights
from handviz.training.augmentation import (
    TrueLandmarks,
    drawn_styles,
    in_other_styles,
    spread_of_statistics,
    true_landmarks,
    with_errors_of_photographs,
)
from handviz.training.cache import CachedSamples, load_cached, stem_digest, with_evidence
from handviz.training.camera_prior import PriorSource, load_camera_prior
from handviz.training.checkpoint import load_checkpoint, load_resume_state, recovered, save_checkpoint
from handviz.training.config import TrainConfig, as_notes, changes
from handviz.training.dataset_samples import Drawing, at_step, load_samples, rendered_folders
from handviz.training.distributed import Processes, joined
from handviz.training.optimiser import descend, learning_rate_factor, optimiser_groups
from handviz.training.run_log import RunLog
from handviz.training.samples import FromGiven, Given, Samples, to_device
from handviz.training.stopping import stop_at_signals
from handviz.training.supervision import Seen, WeakSupervision
from handviz.training.validation import validation_errors

__all__ = ["TrainConfig", "Trainer", "learning_rate_factor", "optimiser_groups", "train", "validation_errors"]
logger = logging.getLogger(__name__)
LAST = "last"
ALONE = Processes()
LARGEST_VALIDATION = 2048
MOST_FOR_STYLE = 2048
"""Crops that tell by how much looks differ."""


class Trainer:
    """One run, in one of its processes."""

    def __init__(self, config: TrainConfig, template: HandTemplate, processes: Processes = ALONE) -> None:
        self.config, self.template, self.processes = config, template, processes
        torch.manual_seed(config.seed)
        self.model = build_model(config.model, template)
        self._start_backbone()
        self._start_weights()
        self.samples = self._load(config.data, config.limit)
        self.batch_size = config.batch_size * processes.count
        if len(self.samples) < self.batch_size:
            names = ", ".join(map(str, config.data))
            raise HandvizError(f"{names} holds {len(self.samples)} samples, fewer than a batch")
        groups = optimiser_groups(self.model, config)
        channels_last(self.model).to(processes.device)
        self.true_landmarks = self._true_landmarks()
        self.style_spread = self._style_spread()
        self.weak = self._weak_supervision()
        if config.tail_rate == 0:
            self.samples = self._evidence_of_all()
        self.network = processes.wrap(FromGiven(self.model))
        self.regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32, device=processes.device)
        self.optimiser = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
        self.step = 0
        self.steps_per_epoch = len(self.samples) // self.batch_size
        self.total_steps = self.steps_per_epoch * config.epochs

    def _load(self, sources: Sequence[Path | str], limit: int | None) -> Samples:
        """The one switch between pictures and what is cached of them."""
        if self.config.end_to_end:
            config = self.config
            whole = config.supervision == "full"
            drawing = Drawing(config.seed, whole_truth=whole)
            return load_samples(sources, self.template, limit, drawing, bad_pictures=config.bad_pictures)
        directories = rendered_folders(sources)
        with self.processes.first_before_others():
            return load_cached(directories, self.model, self.config.model.backbone, self.template, limit)

    def _true_landmarks(self) -> TrueLandmarks | None:
        """What the cached landmarks are moved towards; None where there are none, or nothing is to be moved."""
        samples = self.samples
        if not self.config.witness_noise.share or not isinstance(samples, CachedSamples) or samples.landmarks is None:
            return None
        regressor = torch.tensor(self.template.keypoint_regressor, dtype=torch.float32)
        return true_landmarks(samples.landmarks, samples.truth, regressor)

    def _weak_supervision(self) -> WeakSupervision | None:
        """What weak training knows beside 2D joints; None where all of the truth is learnt from."""
        config, device = self.config, self.processes.device
        if config.supervision == "full":
            return None
        camera = None
        if config.camera_prior is not None:
            source = PriorSource(config.camera_prior, config.data, config.limit, config.loss.weak.camera_std)
            with self.processes.first_before_others():
                camera = load_camera_prior(source, self.samples, self.template, device)
        return WeakSupervision(camera, pose_prior(self.template).to(device))

    def _terms(self, output: ModelOutput, truth: Truth, given: Given, ids: Tensor) -> dict[str, Tensor]:
        """The weighted terms of this process's part of a batch."""
        config = self.config
        if self.weak is None:
            return loss_terms(config.model.variant)(output, truth, self.regressor, config.loss)
        seed = (config.seed * 1_000_037 + self.step) * self.processes.count + self.processes.rank
        seen = Seen(self.processes.own_part(ids), given, seed)
        return self.weak.terms(output, truth, self.regressor, config.loss, seen)

    def _style_spread(self) -> Tensor | None:
        """By how much the looks of cached maps differ; None where they are to stay as they are."""
        wanted = self.config.style_noise.share and self.config.tail_rate
        if not wanted or not isinstance(self.samples, CachedSamples):
            return None
        return spread_of_statistics(self.samples.middle_maps[:MOST_FOR_STYLE].float())

    def _evidence_of_all(self) -> Samples:
        """What the frozen parts see of every crop; of the landmarks' errors there is one draw for all epochs."""
        samples, true = self.samples, self.true_landmarks
        assert isinstance(samples, CachedSamples)
        if true is not None and samples.landmarks is not None:
            generator = torch.Generator().manual_seed(self.config.seed)
            noise = self.config.witness_noise
            drawn = with_errors_of_photographs(samples.landmarks, true.landmarks, true.error_mm, noise, generator)
            samples, self.true_landmarks = replace(samples, landmarks=drawn), None
        return with_evidence(samples, self.model)

    def load_validation(self) -> Samples | None:
        """The samples to watch, in the first process alone; None if there are none."""
        if self.config.validation is None or not self.processes.first:
            return None
        sources, name = (self.config.validation,), self.config.model.backbone
        if self.config.end_to_end:
            bad = self.config.bad_pictures
            return load_samples(sources, self.template, LARGEST_VALIDATION, Drawing(), bad_pictures=bad)
        return load_cached(rendered_folders(sources), self.model, name, self.template, LARGEST_VALIDATION)

    def _start_backbone(self) -> None:
        if self.config.backbone_weights is not None:
            load_torchvision_weights(self.model.backbone, self.config.backbone_weights)
        if self.config.backbone_from is None:
            return
        source, config, _ = load_checkpoint(self.config.backbone_from, self.template)
        if config.backbone != self.config.model.backbone:
            raise HandvizError(f"{self.config.backbone_from} has the backbone {config.backbone}")
        self.model.backbone.load_state_dict(source.backbone.state_dict())

    def _start_weights(self) -> None:
        """Take over every weight that has the same name and shape, whichever variant it comes from."""
        own = self.model.state_dict()
        self.seen_before = 0
        for directory in self.config.start_from:
            source, _, notes = load_checkpoint(directory, self.template)
            self.seen_before = max(self.seen_before, int(notes.get("samples_seen", 0)))
            known = {k: v for k, v in source.state_dict().items() if k in own and v.shape == own[k].shape}
            if not known:
                raise HandvizError(f"{directory} has no weight in common with {self.config.model}")
            self.model.load_state_dict(known, strict=False)
        if self.config.tail_rate == 0 and not self.config.start_from and self.config.model.evidence == "joints":
            logger.warning("nothing before the heads trains, and without --start-from its evidence is random")

    @property
    def crops_seen(self) -> int:
        """Crops that the weights have learnt from, those of the runs that they started from included."""
        return self.seen_before + self.step * self.batch_size

    def resume(self) -> None:
        """Go on from the run's last checkpoint if there is one."""
        with self.processes.first_before_others():
            last = recovered(self.config.run / LAST)
        if not last.is_dir():
            return
        model, config, notes = load_checkpoint(last, self.template)
        if config != self.config.model:
            raise HandvizError(f"{last} holds another model ({config}): choose another run folder")
        self._check_same_run(notes, last)
        if not self.config.end_to_end and stem_digest(model.backbone) != stem_digest(self.model.backbone):
            raise HandvizError(f"{last} started from another backbone than this command: choose another run folder")
        if self.config.tail_rate == 0:
            self._check_frozen(model, last)
        self.model.load_state_dict(model.state_dict())
        state = load_resume_state(last)
        try:
            if state.get("batch_size", self.batch_size) != self.batch_size:
                raise ValueError(f"batches of {state['batch_size']} in all processes, not {self.batch_size}")
            wanted = [{name: group[name] for name in ("rate", "weight_decay")} for group in self.optimiser.param_groups]
            self.optimiser.load_state_dict(state["optimiser"])
            for group, own in zip(self.optimiser.param_groups, wanted, strict=True):
                group.update(own)
            self.step = int(state["step"])
            self.seen_before = max(0, notes.get("samples_seen", self.crops_seen) - self.step * self.batch_size)
        except (KeyError, TypeError, ValueError) as error:
            raise HandvizError(f"{last} was trained in another way ({error}): choose another run folder") from error
        logger.info("resuming at step %d", self.step)

    def _check_same_run(self, notes: dict[str, Any], place: Path) -> None:
        """HandvizError names what this command would go on with otherwise than the run began."""
        differing = changes(self.config, notes.get("train"))
        if notes.get("samples", len(self.samples)) != len(self.samples):
            differing.append(f"{notes['samples']} samples, not {len(self.samples)}")
        if differing:
            raise HandvizError(
                f"{place} was trained with {'; '.join(differing)}: "
                "give the same as before, or choose another run folder"
            )

    def _check_frozen(self, saved: HandModel, place: Path) -> None:
        """HandvizError unless everything before the heads is what this command's evidence was computed with."""
        own = self.model.state_dict()
        for name, value in saved.state_dict().items():
            if not name.startswith("heads.") and not torch.equal(value, own[name].cpu()):
                raise HandvizError(
                    f"{place} was trained on another frozen backbone ({name}): give the same --start-from as before, "
                    "or choose another run folder"
                )

    def save(self) -> None:
        """Write the run's last checkpoint."""
        state = {"optimiser": self.optimiser.state_dict(), "step": self.step, "batch_size": self.batch_size}
        notes = {
            "step": self.step,
            "samples_seen": self.crops_seen,
            "samples": len(self.samples),
            "train": as_notes(self.config),
        }
        save_checkpoint(self.config.run / LAST, self.model, self.config.model, notes, self.template, state)

    def batches(self) -> Iterator[Tensor]:
        """Sample numbers of every step that is still to do, those of all processes together.

        An epoch's order depends on seed and epoch alone.
        """
        done = self.step
        for epoch in range(done // self.steps_per_epoch, self.config.epochs):
            generator = torch.Generator().manual_seed(self.config.seed * 1000 + epoch)
            order = torch.randperm(len(self.samples), generator=generator)
            batches = order[: self.steps_per_epoch * self.batch_size].view(self.steps_per_epoch, -1)
            yield from batches[max(0, done - epoch * self.steps_per_epoch) :]

    def _batch(self, ids: Tensor) -> tuple[Given, Truth]:
        """This process's part of a batch; its landmarks' errors depend on seed and step alone."""
        given, truth = at_step(self.samples, self.step).batch(self.processes.own_part(ids))
        if self.true_landmarks is not None:
            assert isinstance(given, Cached)
            assert isinstance(self.samples, CachedSamples)
            assert self.samples.landmarks is not None
            generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
            true, error_mm = self.true_landmarks.landmarks[ids], self.true_landmarks.error_mm[ids]
            said = with_errors_of_photographs(
                self.samples.landmarks[ids], true, error_mm, self.config.witness_noise, generator
            )
            given = given._replace(landmarks=self.processes.own_part(said))
        if self.style_spread is not None:
            assert isinstance(given, Cached)
            generator = torch.Generator().manual_seed(self.config.seed * 1_000_033 + self.step)
            moves = drawn_styles(len(ids), self.style_spread, self.config.style_noise, generator)
            own = torch.stack([self.processes.own_part(part) for part in moves])
            given = given._replace(middle_map=in_other_styles(given.middle_map, own))
        return to_device(given, self.processes.device), to_device(truth, self.processes.device)

    def train_step(self, ids: Tensor) -> dict[str, float]:
        """One update; returns the loss terms. Raises HandvizError at a loss that is not finite."""
        factor = learning_rate_factor(self.step, self.total_steps, self.config.warm_up_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = group["rate"] * factor
        given, truth = self._batch(ids)
        terms = self._terms(self.network(given), truth, given, ids)
        values = torch.stack(list(terms.values()))
        loss, of_all = values.sum(), self.processes.mean(values)
        # All processes see the same sum, so that all of them stop.
        if not torch.isfinite(of_all.sum()):
            raise HandvizError(
                f"the loss became {of_all.sum().item()} at step {self.step}; the last checkpoint is intact: "
                "lower the learning rate or look at the data"
            )
        descend(loss, self.model, self.optimiser, self.config.gradient_norm)
        self.step += 1
        return dict(zip(terms, of_all.detach().tolist(), strict=True))


class Recorder:
    """Writes what the first process keeps of a run: a row of the log, then the checkpoint that it tells of."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.validation = trainer, trainer.load_validation()
        self.log = RunLog(trainer.config.run / "log.csv")
        if trainer.processes.first:
            self.log.keep_until(trainer.step)

    def record(self, terms: dict[str, float]) -> str:
        """Validate, log and save; returns what the progress bar shows."""
        trainer = self.trainer
        if not trainer.processes.first:
            return ""
        row = {"step": trainer.step, "crops_seen": trainer.crops_seen, "loss": sum(terms.values()), **terms}
        told = f"loss {row['loss']:.3f}"
        if self.validation is not None:
            row |= validation_errors(trainer.model, self.validation, trainer.regressor)
            told += f", PA-MPJPE {row['pa_mpjpe_mm']:.2f} mm, std {row['std_mm']:.2f} mm"
        self.log.add(row)
        trainer.save()
        return told


def train(config: TrainConfig, template: HandTemplate) -> Path:
    """Train to the end (or go on to it); returns the checkpoint's folder."""
    try:
        config.run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HandvizError(f"cannot make the folder {config.run} ({error})") from error
    with joined(config.device) as processes:
        trainer = Trainer(config, template, processes)
        trainer.resume()
        run_steps(trainer, Recorder(trainer))
    return config.run / LAST


def run_steps(trainer: Trainer, recorder: Recorder) -> None:
    """All steps that are left; HandvizError with where to go on if somebody stops them."""
    config, processes = trainer.config, trainer.processes
    trainer.model.train()
    bar = tqdm(
        total=trainer.total_steps, initial=trainer.step, unit="step", smoothing=0.05, disable=not processes.first
    )
    with stop_at_signals() as stop, bar:
        for ids in trainer.batches():
            terms = trainer.train_step(ids)
            bar.update(1)
            at_end, asked = trainer.step == trainer.total_steps, processes.any(stop.asked)
            if at_end or asked or trainer.step % config.checkpoint_every == 0:
                bar.set_postfix_str(recorder.record(terms))
            if asked and not at_end:
                raise HandvizError(f"stopped at step {trainer.step}, saved: the same command goes on from there")
