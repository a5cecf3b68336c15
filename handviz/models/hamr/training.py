"""Training of HAMR on rendered hands or datasets: heatmaps, regressor and presence; MediaPipe's blocks stay frozen."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from handviz.core.arguments import Only
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.units import MILLIMETRES_PER_CENTIMETRE
from handviz.data.datasets.images import BadImages
from handviz.detection.landmark_network import LandmarkNetwork
from handviz.hand_models.template import HandTemplate
from handviz.models.hamr.heatmaps import Maps
from handviz.models.hamr.losses import LossConfig, Mesh, heatmap_error, loss_terms
from handviz.models.hamr.model import Hamr, Inputs, ModelConfig, ModelOutput, Seen, build_model
from handviz.models.hamr.samples import inputs_of_batch
from handviz.models.hamr.training_cache import SeenSamples, cache_key, fast_heatmaps, seen_samples
from handviz.models.hamr.training_checkpoint import ARCHITECTURE, calibrated_spread, export, predictor
from handviz.models.memory import channels_last
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
from handviz.training.samples import Samples, to_device
from handviz.training.trainer import RunTask, parameter_group

AnyInputs = TypeVar("AnyInputs", Inputs, Seen)
MAX_VALIDATION_SAMPLES, STYLE_SAMPLES, CHUNK = 1024, 256, 64
MODEL_OPTIONS = ("form", "stages", "iterations", "pose_numbers", "rotation", "heatmap_input", "landmarks", "feedback")
LOSS_OPTIONS = tuple(item.name for item in fields(LossConfig))


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """Settings of a run of HAMR."""

    LASTING_PARTS: ClassVar[tuple[str, ...]] = (*RunConfig.LASTING_PARTS, "landmark_noise", "style_noise")
    FORMER_PARTS: ClassVar[Mapping[str, str]] = MappingProxyType({})
    model: Annotated[ModelConfig, Only(*MODEL_OPTIONS)] = field(default_factory=ModelConfig)
    loss: Annotated[LossConfig, Only(*LOSS_OPTIONS)] = field(default_factory=LossConfig)
    _: KW_ONLY
    rate: float = 1e-3
    """Learning rate of all layers (AdamW, warm-up, cosine to zero)."""
    heatmaps_only: bool = False
    """Train the heatmaps alone, as the first stage."""
    frozen_heatmaps: bool = False
    """Train all but the heatmaps, as the second stage; what comes before the regressor is computed once."""
    seen_folder: Path | None = None
    """Folder for what is computed once, 55 kB a crop, to share it between runs; the run's own unless given."""
    landmark_noise: LandmarkNoise = field(default_factory=LandmarkNoise)
    """How much of MediaPipe's landmarks is made as accurate as on photographs (training/augmentation.py)."""
    style_noise: StyleNoise = field(default_factory=StyleNoise)
    """How many maps get another style (training/augmentation.py)."""
    gradient_norm: float = 5.0
    bad_images: BadImages = "stop"
    """Whether a dataset's image that cannot be read stops the training or is skipped."""
    start_from: tuple[Path, ...] = ()
    """Checkpoints whose matching weights to start from; later ones win."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.rate < float("inf"):
            raise HandvizError(f"training: rate is {self.rate}, it must be a number above 0", ErrorCode.BAD_VALUE)
        if self.frozen_heatmaps and (self.heatmaps_only or self.model.form != "cascade"):
            raise HandvizError(
                'training: frozen_heatmaps needs the form "cascade", and not heatmaps_only', ErrorCode.OPTION_CONFLICT
            )


class HamrTask(RunTask):
    """One training of HAMR, in one process."""

    config: TrainConfig
    network: Hamr
    samples: Samples
    architecture = ARCHITECTURE

    def __init__(self, config: TrainConfig, template: HandTemplate, processes: Processes = ALONE) -> None:
        self.config, self.template, self.processes = config, template, processes
        self.model_config = config.model
        torch.manual_seed(config.seed)
        self.network = build_model(config.model, template)
        for directory in config.start_from:
            self.start_from(directory)
        self.landmark_network = LandmarkNetwork(device="cpu") if config.model.form == "cascade" else None
        drawing = Drawing(config.seed, joints_suffice=True)
        self.samples = load_samples(config.data, template, config.limit, drawing, bad_images=config.bad_images)
        self.groups = self._groups()
        channels_last(self.network).to(processes.device)
        self.parallel = processes.wrap(self.network)
        regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32)
        faces = torch.from_numpy(template.faces.astype(np.int64))
        self.mesh = Mesh(regressor.to(processes.device), faces.to(processes.device))
        self.style_spread = self._style_spread()
        if config.frozen_heatmaps:
            self.samples = self._seen_samples()
        self.validation = None
        if config.validation is not None and processes.first:
            self.validation = load_samples(
                (config.validation,),
                template,
                MAX_VALIDATION_SAMPLES,
                Drawing(joints_suffice=True),
                bad_images=config.bad_images,
            )

    def _groups(self) -> list[dict[str, Any]]:
        """Return the trained parameters in one group; all others get no gradient."""
        trained = self.network.heatmap_net if self.config.heatmaps_only else self.network
        self.network.requires_grad_(False)
        trained.requires_grad_(True)
        if self.config.frozen_heatmaps:
            self.network.heatmap_net.requires_grad_(False)
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        return [parameter_group(parameters, self.config.rate)]

    def _seen_samples(self) -> SeenSamples:
        """Return the samples as the regressor reads them, part of their maps in other styles."""
        if not self.processes.count == 1:
            raise HandvizError("training: frozen_heatmaps is for one process", ErrorCode.OPTION_CONFLICT)
        config = self.config
        folder = config.run / "seen" if config.seen_folder is None else config.seen_folder
        settings = [*(str(Path(source).resolve()) for source in config.data), config.limit, config.style_noise]
        key = cache_key(self.network.heatmap_net, settings)

        def make_see() -> Callable[[Tensor, Tensor], Seen]:
            heatmap_net = fast_heatmaps(self.network.eval())

            def see(ids: Tensor, images: Tensor) -> Seen:
                generator = torch.Generator().manual_seed(int(ids[0]))
                return heatmap_net(self._in_other_styles(inputs_of_batch(self.landmark_network, images), generator))

            return see

        return seen_samples(self.samples, make_see, folder, key)

    def _style_spread(self) -> tuple[Tensor, ...] | None:
        """Return how much the styles of each map vary; None where maps are not changed."""
        if self.landmark_network is None or not self.config.style_noise.fraction:
            return None
        images, _ = self.samples.batch(torch.arange(min(STYLE_SAMPLES, len(self.samples))))
        maps = inputs_of_batch(self.landmark_network, images).maps
        assert maps is not None
        return tuple(map(spread_of_statistics, maps))

    def loss_terms(self, ids: Tensor, step: int) -> dict[str, Tensor]:
        """Return the weighted terms of this process's part of a batch."""
        inputs, truth = self._batch(ids, step)
        output: ModelOutput = self.parallel(inputs)
        if self.config.heatmaps_only:
            return {"heatmaps": self.config.loss.heatmaps * heatmap_error(output.heatmaps, truth)}
        return loss_terms(output, truth, self.mesh, self.config.loss)

    def _batch(self, ids: Tensor, step: int) -> tuple[Inputs | Seen, Truth]:
        """Return this process's part of a batch; its noise depends on seed, step and process alone."""
        found, truth = at_step(self.samples, step).batch(self.processes.own_part(ids))
        seed = (self.config.seed * 1_000_003 + step) * self.processes.count + self.processes.rank
        generator = torch.Generator().manual_seed(seed)
        if isinstance(found, Seen):
            inputs: Inputs | Seen = self._with_noise(found, truth, generator)
        else:
            inputs = inputs_of_batch(self.landmark_network, found)
            inputs = self._in_other_styles(self._with_noise(inputs, truth, generator), generator)
        return to_device(inputs, self.processes.device), to_device(truth, self.processes.device)

    def _with_noise(self, inputs: AnyInputs, truth: Truth, generator: torch.Generator) -> AnyInputs:
        """Return the inputs with landmarks about as accurate as on photographs."""
        if inputs.landmarks is None:
            return inputs
        noise, regressor = self.config.landmark_noise, self.mesh.regressor.cpu()
        return inputs._replace(landmarks=landmarks_of_photographs(inputs.landmarks, truth, regressor, noise, generator))

    def _in_other_styles(self, inputs: Inputs, generator: torch.Generator) -> Inputs:
        """Return the inputs with part of the maps in other styles."""
        if inputs.maps is None or self.style_spread is None:
            return inputs
        noise = self.config.style_noise
        changed = [
            in_other_styles(part, drawn_styles(len(part), spread, noise, generator))
            for part, spread in zip(inputs.maps, self.style_spread, strict=True)
        ]
        return inputs._replace(maps=Maps(*changed))

    def validate(self) -> dict[str, float]:
        """Return ``validation_errors`` of the validation samples."""
        if self.validation is None:
            return {}
        columns: dict[str, list[Tensor]] = {}
        for ids in torch.arange(len(self.validation)).split(CHUNK):
            images, truth = self.validation.batch(ids)
            inputs = to_device(inputs_of_batch(self.landmark_network, images), self.processes.device)
            output = self.network(inputs)
            for name, values in errors_of(output, to_device(truth, self.processes.device), self.mesh).items():
                columns.setdefault(name, []).append(values)
        return {name: float(torch.cat(parts).mean()) for name, parts in columns.items()}


def errors_of(output: ModelOutput, truth: Truth, mesh: Mesh) -> dict[str, Tensor]:
    """Return the errors of the hands of a batch, and whether each crop's presence is judged rightly, in percent.

    PA-MPJPE after every step and mean vertex error in mm, errors in the crop of the hand's and of the heatmaps'
    keypoints in percent of its side.
    """
    true = true_joints(truth, mesh.regressor)
    rows, hand = truth.is_hand & torch.isfinite(true).all(dim=(1, 2)), output.hand
    has_mesh = rows & torch.isfinite(truth.vertices_cm).all(dim=(1, 2))
    seen = in_crop(mesh.regressor @ hand.vertices_cm, hand.rotation, hand.scale_per_cm, hand.translation)
    errors = {
        "pa_mpjpe_mm": pa_mpjpe_mm((mesh.regressor @ hand.vertices_cm)[rows], true[rows]),
        "vertex_error_mm": (hand.vertices_cm - truth.vertices_cm).norm(dim=2).mean(1)[has_mesh]
        * MILLIMETRES_PER_CENTIMETRE,
        "image_error_percent": 50 * (seen[..., :2] - truth.keypoints_crop).norm(dim=2).mean(1)[rows],
        "heatmap_error_percent": 50 * (output.position - truth.keypoints_crop).norm(dim=2).mean(1)[rows],
        "presence_percent": 100 * ((output.hand_logit > 0) == truth.is_hand).float(),
    }
    of_steps = {
        f"step_{number}_pa_mpjpe_mm": pa_mpjpe_mm((mesh.regressor @ step.vertices_cm)[rows], true[rows])
        for number, step in enumerate(output.steps[1:-1], 1)
    }
    return errors | of_steps


UNUSUAL = ("warm_up_steps", "gradient_norm", "landmark_noise", "style_noise")
"""Settings of a run that are no options of ``handviz train``."""
TRAINING = TrainingFamily(
    ARCHITECTURE,
    TrainConfig,
    HamrTask,
    export,
    predictor,
    options=options_without(TrainConfig, UNUSUAL),
    is_calibrated=True,
    more_calibration=calibrated_spread,
)
