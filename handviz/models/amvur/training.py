"""Training of AMVUR: the heads of a variant and as much of the backbone as the config says.

Samples are cached maps or images, truth is complete or 2D joints alone, in one process or several: the loop is the
trainer's.
"""

import logging
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from handviz.core import metrics
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.gaussian import Gaussian
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.from_onnx import read_onnx
from handviz.models.amvur.loss_parts import mesh_edges, terms_of_hands
from handviz.models.amvur.losses import covariance_terms, edge_terms, loss_terms, presence_terms
from handviz.models.amvur.model import Cached, HandModel, ModelConfig, ModelOutput, build_model
from handviz.models.amvur.training_cache import CachedSamples, FromInputs, Inputs, load_cached, with_features
from handviz.models.amvur.training_camera_prior import load_camera_prior
from handviz.models.amvur.training_checkpoint import ARCHITECTURE, export, load_checkpoint, predictor, remark_of
from handviz.models.amvur.training_config import TrainConfig
from handviz.models.amvur.training_inner_prior import inner_prior
from handviz.models.amvur.weak_losses import WeakPriors, pose_prior, weak_terms
from handviz.models.backbones.imagenet_backbones import load_torchvision_weights
from handviz.models.memory import channels_last
from handviz.models.truth import Truth, in_crop
from handviz.training.augmentation import (
    TrueLandmarks,
    drawn_styles,
    in_other_styles,
    spread_of_statistics,
    true_landmarks,
    with_errors_of_photographs,
)
from handviz.training.cache import stem_digest, tail_parameters
from handviz.training.checkpoint import VARIANCE_SCALES, variance_scales
from handviz.training.dataset_samples import Drawing, at_step, load_samples, rendered_folders
from handviz.training.distributed import ALONE, Processes
from handviz.training.families import TrainingFamily, train_family
from handviz.training.samples import Samples, to_device
from handviz.training.trainer import RunTask, parameter_group

logger = logging.getLogger(__name__)
MAX_VALIDATION_SAMPLES = 2048
MAX_STYLE_SAMPLES = 2048
"""Crops from which the variation of styles is estimated."""


def train(config: TrainConfig, template: HandTemplate) -> Path:
    """Train to the end, resuming an earlier run; returns the checkpoint's folder."""
    return train_family(TRAINING, config, template)


def optimiser_groups(model: HandModel, config: TrainConfig) -> list[dict[str, Any]]:
    """Return every trainable parameter in one group; the stem trains end to end only, the landmark head never."""
    if config.covariance_only:
        return _covariance_group(model, config)
    frozen = config.tail_rate == 0
    tail = [] if frozen else list(tail_parameters(model.backbone))
    of_tail = {id(parameter) for parameter in tail}
    stem = [p for p in model.backbone.parameters() if id(p) not in of_tail] if config.end_to_end else []
    heads = list(model.heads.parameters()) + ([] if frozen else list(model.features.parameters()))
    model.requires_grad_(False)
    for parameter in (*heads, *tail, *stem):
        parameter.requires_grad_(True)
    groups = [(heads, config.head_rate), (tail, config.tail_rate), (stem, config.stem_rate)]
    return [parameter_group(parameters, rate) for parameters, rate in groups if parameters]


def _covariance_group(model: HandModel, config: TrainConfig) -> list[dict[str, Any]]:
    model.requires_grad_(False)
    covariance = getattr(model.heads.amvur, "joint_covariance", None)
    assert covariance is not None
    covariance.requires_grad_(True)
    return [parameter_group(list(covariance.parameters()), config.head_rate)]


class AmvurTask(RunTask):
    """One training of AMVUR, in one process."""

    config: TrainConfig
    model_config: ModelConfig
    network: HandModel
    samples: Samples
    architecture = ARCHITECTURE

    def __init__(self, config: TrainConfig, template: HandTemplate, processes: Processes = ALONE) -> None:
        self.config, self.template, self.processes = config, template, processes
        self.model_config = config.model
        torch.manual_seed(config.seed)
        self.network = build_model(config.model, template)
        self._start_backbone()
        self._start_weights()
        self.samples = self._load(config.data, config.limit)
        self.groups = optimiser_groups(self.network, config)
        channels_last(self.network).to(processes.device)
        self.true_landmarks = self._true_landmarks()
        self.style_spread = self._style_spread()
        with processes.first_before_others():
            self.camera_prior = load_camera_prior(config, self.samples, template, processes.device)
        self.pose_prior = pose_prior(template).to(processes.device)
        if config.tail_rate == 0:
            self.samples = self._features_of_all()
        self.parallel = processes.wrap(FromInputs(self.network))
        """The network on any kind of inputs, its gradients averaged over all processes"""
        self.regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32, device=processes.device)
        self.edges = mesh_edges(template.faces).to(processes.device)
        self.validation = self._load_validation()

    def _load(self, sources: Sequence[Path | str], limit: int | None) -> Samples:
        """Load images or what is cached of them, as the config says."""
        if self.config.end_to_end:
            config = self.config
            whole = config.supervision == "full"
            drawing = Drawing(config.seed, whole_truth=whole)
            return load_samples(sources, self.template, limit, drawing, bad_images=config.bad_images)
        directories = rendered_folders(sources)
        with self.processes.first_before_others():
            return load_cached(directories, self.network, self.config.model.backbone, self.template, limit)

    def _true_landmarks(self) -> TrueLandmarks | None:
        """Return the targets towards which cached landmarks are moved; None where nothing is moved."""
        samples = self.samples
        if (
            not self.config.landmark_noise.fraction
            or not isinstance(samples, CachedSamples)
            or samples.landmarks is None
        ):
            return None
        regressor = torch.tensor(self.template.keypoint_regressor, dtype=torch.float32)
        return true_landmarks(samples.landmarks, samples.truth, regressor)

    def _style_spread(self) -> Tensor | None:
        """Return how much the styles of cached maps vary; None where maps are not changed."""
        if not (self.config.style_noise.fraction and self.config.tail_rate) or not isinstance(
            self.samples, CachedSamples
        ):
            return None
        return spread_of_statistics(self.samples.middle_maps[:MAX_STYLE_SAMPLES].float())

    def _features_of_all(self) -> Samples:
        """Compute the frozen parts' features of every crop; landmark errors are drawn once for all epochs."""
        samples, true = self.samples, self.true_landmarks
        assert isinstance(samples, CachedSamples)
        if true is not None and samples.landmarks is not None:
            generator = torch.Generator().manual_seed(self.config.seed)
            noise = self.config.landmark_noise
            drawn = with_errors_of_photographs(samples.landmarks, true.landmarks, true.error_mm, noise, generator)
            samples, self.true_landmarks = replace(samples, landmarks=drawn), None
        return with_features(samples, self.network)

    def _load_validation(self) -> Samples | None:
        """Return the validation samples, in the first process alone; None if there are none."""
        if self.config.validation is None or not self.processes.first:
            return None
        sources, name = (self.config.validation,), self.config.model.backbone
        if self.config.end_to_end:
            bad = self.config.bad_images
            return load_samples(sources, self.template, MAX_VALIDATION_SAMPLES, Drawing(), bad_images=bad)
        return load_cached(rendered_folders(sources), self.network, name, self.template, MAX_VALIDATION_SAMPLES)

    def _start_backbone(self) -> None:
        if self.config.backbone_weights is not None:
            load_torchvision_weights(self.network.backbone, self.config.backbone_weights)
        if self.config.backbone_from is None:
            return
        source, config, _ = load_checkpoint(self.config.backbone_from, self.template)
        if config.backbone != self.config.model.backbone:
            raise HandvizError(
                f"{self.config.backbone_from} has the backbone {config.backbone}, not {self.config.model.backbone}: "
                "choose another checkpoint",
                ErrorCode.MODEL_MISMATCH,
            )
        self.network.backbone.load_state_dict(source.backbone.state_dict())

    def _start_weights(self) -> None:
        """Take over weights, whichever variant they come from."""
        for directory in self.config.start_from:
            self.start_from(directory)
        if self.config.tail_rate == 0 and not self.config.start_from and self.config.model.features == "joints":
            logger.warning("nothing before the heads trains, and without --start-from its features are random")

    def load(self, directory: Path) -> tuple[nn.Module, object, dict[str, Any]]:
        """Return the network, its config and the notes of a checkpoint, or of a file that ``export`` wrote."""
        if directory.suffix != ".onnx":
            return super().load(directory)
        found = read_onnx(directory, self.template)
        std = found.metadata.std
        scales = dict(zip(VARIANCE_SCALES, (std.vertex_variance_scale, std.keypoint_variance_scale), strict=True))
        return found.model, found.config, {"samples_seen": found.metadata.samples_seen, **scales}

    def notes_to_keep(self, config: object, notes: dict[str, Any]) -> dict[str, Any]:
        """Return the factors of variances where only the covariance trains, beside which these stay as they are.

        HandvizError if they are damaged.
        """
        assert isinstance(config, ModelConfig)
        if not self.config.covariance_only or replace(config, rank=self.model_config.rank) != self.model_config:
            return {}
        variance_scales(notes)
        return {name: notes[name] for name in VARIANCE_SCALES if name in notes}

    def check_resumable(self, saved: nn.Module, checkpoint: Path) -> None:
        """Raise HandvizError unless cached maps and features are those that the run started with."""
        assert isinstance(saved, HandModel)
        if not self.config.end_to_end and stem_digest(saved.backbone) != stem_digest(self.network.backbone):
            raise HandvizError(
                f"{checkpoint} started from another backbone than this command: choose another run folder",
                ErrorCode.FOLDER_TAKEN,
            )
        if self.config.tail_rate == 0:
            self._check_frozen(saved, checkpoint)

    def _check_frozen(self, saved: HandModel, checkpoint: Path) -> None:
        """Raise HandvizError unless everything before the heads is what this command's features were computed with."""
        own = self.network.state_dict()
        for name, value in saved.state_dict().items():
            if not name.startswith("heads.") and not torch.equal(value, own[name].cpu()):
                raise HandvizError(
                    f"{checkpoint} was trained on another frozen backbone ({name}): give the same --start-from as "
                    "before, or choose another run folder",
                    ErrorCode.FOLDER_TAKEN,
                )

    def loss_terms(self, ids: Tensor, step: int) -> dict[str, Tensor]:
        """Return the weighted terms of this process's part of a batch; all but the presence's of hands alone."""
        config = self.config
        inputs, truth = self._batch(ids, step)
        output = self.parallel(inputs)
        # Different draws in every step and process.
        seed = (config.seed * 1_000_037 + step) * self.processes.count + self.processes.rank
        generator = torch.Generator(self.regressor.device).manual_seed(seed)
        present = presence_terms(output, truth, config.loss)
        if config.supervision == "full":
            terms, progress = loss_terms(config.model.variant), step / self.total_steps

            def supervised(output: ModelOutput, truth: Truth) -> dict[str, Tensor]:
                found = terms(output, truth, self.regressor, config.loss, progress, generator)
                found |= covariance_terms(output, truth, self.regressor, config.loss)
                return found | edge_terms(output, truth, self.edges, config.loss)

            return terms_of_hands(supervised, output, truth, self.regressor) | present
        camera = None
        if self.camera_prior is not None:
            camera = self.camera_prior.of(self.processes.own_part(ids), inputs)

        def weak(output: ModelOutput, truth: Truth, camera: Gaussian | None) -> dict[str, Tensor]:
            priors = WeakPriors(camera, self.pose_prior)
            return weak_terms(output, only_keypoints(truth), self.regressor, config.loss, generator, priors)

        return terms_of_hands(weak, output, truth, self.regressor, camera) | present

    def _batch(self, ids: Tensor, step: int) -> tuple[Inputs, Truth]:
        """Return this process's part of a batch; its landmarks' errors depend on seed and step alone."""
        inputs, truth = at_step(self.samples, step).batch(self.processes.own_part(ids))
        if self.true_landmarks is not None:
            assert isinstance(inputs, Cached)
            assert isinstance(self.samples, CachedSamples)
            assert self.samples.landmarks is not None
            generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)
            true, error_mm = self.true_landmarks.landmarks[ids], self.true_landmarks.error_mm[ids]
            noisy = with_errors_of_photographs(
                self.samples.landmarks[ids], true, error_mm, self.config.landmark_noise, generator
            )
            inputs = inputs._replace(landmarks=self.processes.own_part(noisy))
        if self.style_spread is not None:
            assert isinstance(inputs, Cached)
            generator = torch.Generator().manual_seed(self.config.seed * 1_000_033 + step)
            displacements = drawn_styles(len(ids), self.style_spread, self.config.style_noise, generator)
            own = torch.stack([self.processes.own_part(part) for part in displacements])
            inputs = inputs._replace(middle_map=in_other_styles(inputs.middle_map, own))
        return to_device(inputs, self.processes.device), to_device(truth, self.processes.device)

    def validate(self) -> dict[str, float]:
        """Return ``validation_errors`` of the validation samples."""
        return {} if self.validation is None else validation_errors(self.network, self.validation, self.regressor)


def only_keypoints(truth: Truth) -> Truth:
    """Return the truth with nan for everything that weak training must not use."""
    hidden = ("vertices_cm", "rotation", "scale_per_cm", "translation")
    return replace(truth, **{name: torch.full_like(getattr(truth, name), torch.nan) for name in hidden})


@torch.no_grad()
def validation_errors(model: HandModel, samples: Samples, regressor: Tensor) -> dict[str, float]:
    """Return PA-MPJPE and mean vertex error (mm, canonical), root of the mean variance (mm), mean 2D error (% of the
    crop); of models with a presence head also the percentage of crops that it judges rightly.

    Hands whose 3D truth is nan count in variance and presence alone; without any other the errors are nan.
    """
    model.eval()
    network = FromInputs(model)
    columns: dict[str, list[Tensor]] = {"pa": [], "error": [], "variance": [], "image": [], "presence": []}
    for ids in torch.arange(len(samples)).split(128):
        inputs, truth = (to_device(part, regressor.device) for part in samples.batch(ids))
        output = network(inputs)
        columns["variance"].append(output.log_variance.exp().sum(2).mean(1)[truth.is_hand])
        if output.hand_logit is not None:
            columns["presence"].append(((output.hand_logit > 0) == truth.is_hand).float())
        mine, true = (regressor @ vertices for vertices in (output.mean_cm, truth.vertices_cm))
        known = torch.isfinite(true).all(dim=2).all(dim=1) & truth.is_hand
        columns["pa"].append(_aligned_errors_mm(mine[known], true[known]))
        columns["error"].append((output.mean_cm - truth.vertices_cm).norm(dim=2).mean(1)[known])
        camera = output.camera
        wanted = in_crop(truth.vertices_cm, truth.rotation, truth.scale_per_cm, truth.translation)
        found = in_crop(output.mean_cm, camera.rotation, camera.scale, camera.translation)
        columns["image"].append((wanted - found)[..., :2].norm(dim=2).mean(1)[known])
    model.train()
    return _errors({name: float(torch.cat(parts).mean()) for name, parts in columns.items() if parts})


def _errors(mean: dict[str, float]) -> dict[str, float]:
    """Return validation errors in the units of the log, of means in centimetres, half-sides and fractions."""
    errors = {
        "pa_mpjpe_mm": mean["pa"],
        "vertex_error_mm": mean["error"] * 10,
        "std_mm": mean["variance"] ** 0.5 * 10,
        "image_error_percent": mean["image"] * 50,
    }
    return errors | ({"presence_percent": mean["presence"] * 100} if "presence" in mean else {})


def _aligned_errors_mm(mine_cm: Tensor, true_cm: Tensor) -> Tensor:
    """Return PA-MPJPE (B,) of keypoints (B, 21, 3), also for B = 0."""
    if not len(mine_cm):
        return torch.empty(0, dtype=torch.float64)
    return torch.from_numpy(metrics.pa_mpjpe_mm(mine_cm.cpu().numpy(), true_cm.cpu().numpy()) * 0.01)


UNUSUAL = ("warm_up_steps", "gradient_norm", "landmark_noise", "style_noise", "recipe")
"""Settings of a run that are no options of ``handviz train``."""
TRAINING = TrainingFamily(
    ARCHITECTURE,
    TrainConfig,
    AmvurTask,
    export,
    predictor,
    options=tuple(item.name for item in fields(TrainConfig) if item.name not in UNUSUAL),
    is_calibrated=True,
    remark=remark_of,
    inside=inner_prior,
    inside_title="prior-net inside",
)
