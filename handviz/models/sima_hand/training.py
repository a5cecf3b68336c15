"""Training of SiMA-Hand: the multi-view network on moments, the single-view one on crops, with or without a teacher."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from handviz.core.arguments import Only, Option
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.units import MILLIMETRES_PER_CENTIMETRE
from handviz.data.datasets.images import BadImages
from handviz.data.datasets.registry import is_dataset_spec
from handviz.detection.landmark_network import LandmarkNetwork
from handviz.hand_models.template import HandTemplate
from handviz.models.memory import channels_last
from handviz.models.sima_hand.losses import SHAPE_TERMS, STAGES, LossConfig, Mesh, adaptation_terms, loss_terms
from handviz.models.sima_hand.model import MAX_VIEWS, Inputs, ModelConfig, ModelOutput, SimaHand, build_model
from handviz.models.sima_hand.samples import Moments, inputs_of_batch, of_crops, of_views
from handviz.models.sima_hand.training_cache import (
    CachedSamples,
    TeacherFeatures,
    crops_of,
    load_cached,
    load_single_views,
    teacher_features,
)
from handviz.models.sima_hand.training_checkpoint import ARCHITECTURE, export, load_checkpoint, predictor
from handviz.models.truth import Truth, in_crop, pa_mpjpe_mm, true_joints
from handviz.training.augmentation import (
    LandmarkNoise,
    StyleNoise,
    drawn_styles,
    in_other_styles,
    landmarks_of_photographs,
    spread_of_statistics,
)
from handviz.training.config import RunConfig
from handviz.training.dataset_samples import Drawing, at_step, load_samples
from handviz.training.distributed import ALONE, Processes
from handviz.training.families import TrainingFamily, options_without
from handviz.training.moments import load_moments
from handviz.training.samples import Samples, take, to_device
from handviz.training.trainer import RunTask, parameter_group

MAX_VALIDATION_CROPS, STYLE_CROPS, CHUNK = 1024, 256, 64
LOSS_OPTIONS = tuple(item.name for item in fields(LossConfig))
MODEL_OPTIONS = tuple(item.name for item in fields(ModelConfig))


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """Settings of a run of SiMA-Hand."""

    LASTING: ClassVar[tuple[str, ...]] = (*RunConfig.LASTING, "stage", "moments", "teacher", "fewest_views")
    LASTING_PARTS: ClassVar[tuple[str, ...]] = (*RunConfig.LASTING_PARTS, "landmark_noise", "style_noise")
    FORMER_PARTS: ClassVar[Mapping[str, str]] = MappingProxyType({})
    model: Annotated[ModelConfig, Only(*MODEL_OPTIONS)] = field(default_factory=ModelConfig)
    loss: Annotated[LossConfig, Only(*LOSS_OPTIONS)] = field(default_factory=LossConfig)
    _: KW_ONLY
    rate: float = 1e-3
    """Learning rate of all layers (AdamW, warm-up, cosine to zero)."""
    stage: Annotated[str, Option(choices=STAGES)] = "all"
    """Train the canonical shape alone, the orientation on top of it, or both at once; at last the presence alone, on
    ordinary crops, since all moments show a hand."""
    moments: bool = False
    """Whether the data are moments, hands seen by several cameras, as the multi-view network needs them."""
    teacher: Path | None = None
    """Checkpoint of a multi-view network whose features the single-view one learns (SiMA); it needs moments."""
    fewest_views: int | None = None
    """Draw at least so many views of a hand in each step, and at most all; without it always all."""
    landmark_noise: LandmarkNoise = field(default_factory=LandmarkNoise)
    """How much of MediaPipe's landmarks is made as accurate as on photographs (training/augmentation.py)."""
    style_noise: StyleNoise = field(default_factory=StyleNoise)
    """How many maps get another style (training/augmentation.py)."""
    gradient_norm: float = 30.0
    """Twice the median of the first steps; it catches outliers alone."""
    bad_images: BadImages = "stop"
    """Whether a dataset's image that cannot be read stops the training or is skipped."""
    start_from: tuple[Path, ...] = ()
    """Checkpoints whose matching weights to start from; later ones win."""

    def __post_init__(self) -> None:
        super().__post_init__()
        is_multi = self.model.network == "mvr"
        if not 0 < self.rate < float("inf"):
            raise HandvizError(f"training: rate is {self.rate}, it must be a number above 0", ErrorCode.BAD_VALUE)
        if self.stage not in STAGES:
            raise HandvizError(
                f"training: stage is {self.stage!r}; there are {', '.join(STAGES)}", ErrorCode.UNKNOWN_NAME
            )
        if self.fewest_views is not None and not 1 <= self.fewest_views <= MAX_VIEWS:
            raise HandvizError(
                f"training: fewest_views is {self.fewest_views}, it must lie between 1 and {MAX_VIEWS}",
                ErrorCode.BAD_VALUE,
            )
        wrong = {
            "the multi-view network needs several views of a hand: add --moments": is_multi and not self.moments,
            "a teacher's features are of several views of a hand: add --moments": self.teacher and not self.moments,
            "the multi-view network is the teacher: leave --teacher out": is_multi and self.teacher,
            "the paper's form is not cached, and no teacher's features of it: leave --teacher out": self.teacher
            and self.model.form == "paper",
            "only the multi-view network takes several views: leave --fewest-views out": self.fewest_views
            and not is_multi,
            "a fusion by concatenation takes all views: leave --fewest-views out": self.fewest_views
            and self.model.fixed_views,
        }
        for message in (message for message, is_wrong in wrong.items() if is_wrong):
            raise HandvizError(f"training: {message}", ErrorCode.OPTION_CONFLICT)


@dataclass(frozen=True, eq=False)
class Source:
    """Crops to train or validate on: cached ones, moments, or ordinary samples."""

    samples: CachedSamples | Moments | Samples
    network: LandmarkNetwork | None
    takes_moments: bool
    """Whether one number is a moment, for the multi-view network; else it is a crop."""
    has_views: bool
    """Whether the samples are moments."""

    @property
    def views(self) -> int:
        """N views of a moment, 1 of ordinary crops."""
        samples = self.samples
        return int(samples.views) if self.has_views else 1  # type: ignore[union-attr]

    def __len__(self) -> int:
        return len(self.samples) * (1 if self.takes_moments else self.views)

    def batch(self, ids: Tensor, step: int = 0) -> tuple[Inputs, Truth]:
        """Return inputs (B, ...) of crops, or (B, N, ...) of moments, and their truth."""
        samples = self.samples
        if isinstance(samples, CachedSamples):
            return samples.batch(ids) if self.takes_moments else samples.crops(ids)
        if not self.has_views:
            images, truth = at_step(samples, step).batch(ids)  # type: ignore[arg-type]
            return inputs_of_batch(self.network, images), truth
        moments = ids if self.takes_moments else ids // self.views
        if hasattr(samples, "at_step"):  # those of a dataset
            samples = samples.at_step(step)
        images, truth = samples.batch(moments)
        inputs = inputs_of_batch(self.network, images)
        if self.takes_moments:
            return inputs, truth
        rows = torch.arange(len(ids)) * self.views + ids % self.views
        return Inputs(*(part if part is None else part[rows] for part in of_crops(inputs))), take(truth, rows)


def load_source(
    config: TrainConfig,
    data: Sequence[Path | str],
    limit: int | None,
    template: HandTemplate,
    network: LandmarkNetwork | None,
    drawing: Drawing,
) -> Source:
    """Return the crops of folders and datasets; those of folders are cached for the small form."""
    takes_moments = config.model.network == "mvr"
    folders = tuple(Path(item) for item in data if not is_dataset_spec(item))
    if config.teacher is not None and len(folders) < len(data):
        raise HandvizError(
            "a teacher's features are those of rendered folders: leave --teacher or the datasets out",
            ErrorCode.OPTION_CONFLICT,
        )
    if network is not None and len(folders) == len(data):
        cached = load_cached(folders, template, limit, load_moments if config.moments else load_single_views, network)
        return Source(cached, network, takes_moments, has_views=True)
    if config.moments:
        of_dataset = drawing if len(folders) < len(data) else None
        return Source(load_moments(data, template, limit, drawing=of_dataset), network, takes_moments, has_views=True)
    samples = load_samples(data, template, limit, drawing, bad_images=config.bad_images)
    return Source(samples, network, False, has_views=False)


class SimaTask(RunTask):
    """One training of SiMA-Hand, in one process."""

    config: TrainConfig
    network: SimaHand
    samples: Source
    architecture = ARCHITECTURE

    def __init__(self, config: TrainConfig, template: HandTemplate, processes: Processes = ALONE) -> None:
        self.config, self.template, self.processes = config, template, processes
        self.model_config = config.model
        torch.manual_seed(config.seed)
        self.network = build_model(config.model, template)
        for directory in config.start_from:
            self.start_from(directory)
        self.landmark_network = LandmarkNetwork(device="cpu") if config.model.form == "small" else None
        drawing = Drawing(config.seed, joints_suffice=True)
        with processes.first_before_others():
            self.samples = load_source(config, config.data, config.limit, template, self.landmark_network, drawing)
            self.teacher = self._teacher()
        self.groups = self._groups()
        channels_last(self.network).to(processes.device)
        self.parallel = processes.wrap(self.network)
        regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32)
        faces = torch.from_numpy(template.faces.astype(np.int64))
        self.mesh = Mesh(regressor.to(processes.device), faces.to(processes.device))
        self.style_spread = self._style_spread()
        self.validation: Source | None = None
        if config.validation is not None and processes.first:
            views = self.samples.views
            self.validation = load_source(
                config, (config.validation,), MAX_VALIDATION_CROPS // views, template, self.landmark_network,
                Drawing(joints_suffice=True),
            )  # fmt: skip

    def _teacher(self) -> TeacherFeatures | None:
        """Return the features of the teacher; HandvizError if it is no multi-view network of the small form."""
        directory = self.config.teacher
        if directory is None or not self.config.loss.teacher_features:
            return None
        teacher, found, _ = load_checkpoint(directory, self.template)
        if found.network != "mvr" or found.form != "small":
            raise HandvizError(
                f"{directory} is the network {found.network}, form {found.form}: the teacher must be mvr, small",
                ErrorCode.MODEL_MISMATCH,
            )
        assert isinstance(self.samples.samples, CachedSamples)
        teacher.to(self.processes.device)
        return teacher_features(teacher, directory, self.samples.samples, self.config.loss.teacher_features)

    def _groups(self) -> list[dict[str, Any]]:
        """Return the parameters that the stage trains in one group; all others get no gradient."""
        shape = [parameter for part in self.network.shape_modules for parameter in part.parameters()]
        of_shape = set(map(id, shape))
        others = [parameter for parameter in self.network.parameters() if id(parameter) not in of_shape]
        presence = list(self.network.presence.parameters())
        trained = {"all": shape + others, "shape": shape, "orientation": others, "presence": presence}[
            self.config.stage
        ]
        self.network.requires_grad_(False)
        for parameter in trained:
            parameter.requires_grad_(True)
        return [parameter_group(trained, self.config.rate)]

    def _style_spread(self) -> Tensor | None:
        """Return how much the styles of maps vary; None where maps are not changed."""
        if self.landmark_network is None or not self.config.style_noise.fraction:
            return None
        count = min(STYLE_CROPS, len(self.samples))
        inputs, _ = self.samples.batch(torch.linspace(0, len(self.samples) - 1, count).long())
        assert inputs.middle_map is not None
        maps = inputs.middle_map
        return spread_of_statistics(maps.flatten(0, 1) if maps.ndim == 5 else maps)

    def loss_terms(self, ids: Tensor, step: int) -> dict[str, Tensor]:
        """Return the weighted terms of this process's part of a batch."""
        ids = self.processes.own_part(ids)
        for part in self._still_parts():  # their statistics stay as they are
            part.eval()
        inputs, truth = self._batch(ids, step)
        torch.manual_seed(self._seed(step))  # the dropout's, so that a resumed run drops the same
        output: ModelOutput = self.parallel(inputs)
        views = len(truth.is_hand) // len(ids)
        terms = loss_terms(output, truth, self.mesh, self.config.loss, views=views)
        if self.teacher is not None:
            wanted = to_device(self.teacher.of_crops(ids), self.processes.device)
            terms |= adaptation_terms(output.features, wanted, truth.is_hand, self.config.loss)
        wanted_terms = {
            "all": terms.keys(),
            "shape": set(SHAPE_TERMS),
            "orientation": terms.keys() - set(SHAPE_TERMS),
            "presence": {"presence"},
        }
        return {name: value for name, value in terms.items() if name in wanted_terms[self.config.stage]}

    def _still_parts(self) -> tuple[nn.Module, ...]:
        """Return the parts that the stage does not train."""
        if self.config.stage == "presence":
            return tuple(part for name, part in self.network.named_children() if name != "presence")
        return self.network.shape_modules if self.config.stage == "orientation" else ()

    def _seed(self, step: int) -> int:
        return (self.config.seed * 1_000_003 + step) * self.processes.count + self.processes.rank

    def _batch(self, ids: Tensor, step: int) -> tuple[Inputs, Truth]:
        """Return some samples; the noise of their inputs depends on seed, step and process alone."""
        generator = torch.Generator().manual_seed(self._seed(step))
        inputs, truth = self.samples.batch(ids, step)
        inputs, truth = self._some_views(inputs, truth, generator)
        if inputs.landmarks is not None:
            views = inputs.landmarks.shape[1] if inputs.landmarks.ndim == 3 else 0
            flat = self._with_noise(of_crops(inputs) if views else inputs, truth, generator)
            inputs = of_views(flat, views) if views else flat
        return to_device(inputs, self.processes.device), to_device(truth, self.processes.device)

    def _some_views(self, inputs: Inputs, truth: Truth, generator: torch.Generator) -> tuple[Inputs, Truth]:
        """Return the same moments with some of their views, the same ones of all."""
        fewest, views = self.config.fewest_views, self.samples.views
        if fewest is None or fewest >= views:
            return inputs, truth
        count = int(torch.randint(fewest, views + 1, (), generator=generator))
        chosen = torch.randperm(views, generator=generator)[:count].sort().values
        rows = crops_of(torch.arange(len(truth.is_hand) // views), views).unflatten(0, (-1, views))[:, chosen].flatten()
        return Inputs(*(part if part is None else part[:, chosen] for part in inputs)), take(truth, rows)

    def _with_noise(self, inputs: Inputs, truth: Truth, generator: torch.Generator) -> Inputs:
        """Return inputs with landmarks about as accurate as on photographs, and part of the maps in other styles."""
        noise, landmarks, maps = self.config.landmark_noise, inputs.landmarks, inputs.middle_map
        if landmarks is not None:
            landmarks = landmarks_of_photographs(landmarks, truth, self.mesh.regressor.cpu(), noise, generator)
        if maps is not None and self.style_spread is not None:
            drawn = drawn_styles(len(maps), self.style_spread, self.config.style_noise, generator)
            maps = in_other_styles(maps, drawn)
        return inputs._replace(landmarks=landmarks, middle_map=maps)

    def validate(self) -> dict[str, float]:
        """Return the means of ``errors_of`` of the validation samples."""
        if self.validation is None:
            return {}
        columns: dict[str, list[Tensor]] = {}
        chunk = CHUNK // self.validation.views if self.validation.takes_moments else CHUNK
        for ids in torch.arange(len(self.validation)).split(max(chunk, 1)):
            inputs, truth = (to_device(part, self.processes.device) for part in self.validation.batch(ids))
            for name, values in errors_of(self.network(inputs), truth, self.mesh).items():
                columns.setdefault(name, []).append(values.cpu())
        return {name: float(torch.cat(parts).mean()) for name, parts in columns.items()}


def errors_of(output: ModelOutput, truth: Truth, mesh: Mesh) -> dict[str, Tensor]:
    """Return the errors of the hands of a batch, and whether each crop's presence is judged rightly, in percent.

    PA-MPJPE, mean errors of canonical and of rotated vertices in mm, the rotation's in degrees, and errors in the crop
    of the placed and of the 2D joints in percent of its side.
    """
    true = true_joints(truth, mesh.regressor)
    rows = truth.is_hand & torch.isfinite(true).all(dim=(1, 2))
    has_mesh = rows & torch.isfinite(truth.vertices_cm).all(dim=(1, 2))
    joints = mesh.regressor @ output.vertices_cm
    seen = in_crop(joints, output.rotation, output.scale_per_cm, output.translation)
    turned = output.vertices_cm @ output.rotation.transpose(1, 2) - truth.vertices_cm @ truth.rotation.transpose(1, 2)
    cosine = ((output.rotation * truth.rotation).sum((1, 2)) - 1) / 2
    return {
        "pa_mpjpe_mm": pa_mpjpe_mm(joints[rows], true[rows]),
        "vertex_error_mm": _mean_mm(output.vertices_cm - truth.vertices_cm)[has_mesh],
        "turned_vertex_error_mm": _mean_mm(turned)[has_mesh],
        "rotation_error_deg": torch.rad2deg(torch.acos(cosine.clamp(-1, 1)))[has_mesh],
        "image_error_percent": 50 * (seen[..., :2] - truth.keypoints_crop).norm(dim=2).mean(1)[rows],
        "joints_2d_error_percent": 50 * (output.joints_crop - truth.keypoints_crop).norm(dim=2).mean(1)[rows],
        "presence_percent": 100 * ((output.hand_logit > 0) == truth.is_hand).float(),
    }


def _mean_mm(offsets_cm: Tensor) -> Tensor:
    return offsets_cm.norm(dim=2).mean(1) * MILLIMETRES_PER_CENTIMETRE


UNUSUAL = ("warm_up_steps", "gradient_norm", "landmark_noise", "style_noise")
"""Settings of a run that are no options of ``handviz train``."""
TRAINING = TrainingFamily(
    ARCHITECTURE,
    TrainConfig,
    SimaTask,
    export,
    predictor,
    options=options_without(TrainConfig, UNUSUAL),
    is_calibrated=True,
)
