"""Adaptation to a camera: from an unlabelled clip to a network that fits it better, or the finding that none was found.

Frames are split into consecutive blocks: most for training, some to decide when to stop, some for the final decision
alone. Neighbours in a clip are nearly the same image, so that a random split would show nothing.
"""

import copy
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handviz.adaptation.clip_crops import ClipCrops, Cuts, cuts_of
from handviz.adaptation.training import (
    Adaptation,
    AdaptConfig,
    Agreement,
    Teacher,
    TrainingData,
    Views,
    agreement,
    distances,
    teacher_of,
)
from handviz.core.errors import ErrorCode, HandvizError, write_error_code
from handviz.core.files import unfinished_path, write_files
from handviz.core.paths import MODELS, model_file
from handviz.core.records import FloatArray
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.export import CalibrationMetadata, ExportMetadata, export_onnx
from handviz.models.amvur.from_onnx import Exported, read_onnx
from handviz.models.amvur.model import Cached, HandModel
from handviz.models.amvur.training_cache import stem_maps
from handviz.models.amvur.training_checkpoint import calibration_metadata, load_checkpoint
from handviz.training.checkpoint import read_metadata
from handviz.training.samples import image_batch
from handviz.training.trainer import LossNotFiniteError, Trainer

logger = logging.getLogger(__name__)
MIN_HANDS = 48
"""With fewer the held-out frames are too few for a decision."""
BLOCKS = 12
WATCHED, HELD_OUT = (3, 8), (1, 5, 10)
"""Blocks, of twelve, for early stopping and for the decision; the others are trained on."""
MIN_GAIN = 0.03
"""Minimal relative decrease of the held-out 2D distance: less is chance."""
MAX_STANDARDISED_GROWTH = 1.1
"""Maximal factor on the squared standardised error."""
JITTERED = 2
"""Additional jittered cuts of every training hand."""
FRACTIONS = (0.5, 0.56, 0.63, 0.71, 0.79, 0.89, 1.0, 1.12, 1.26, 1.41, 1.59, 1.78, 2.0)
"""Image heights that are tried, as fractions of the original one."""
MAX_TRIED = 48
CHECKED_CROPS = 3
CLEARLY_NEARER = 0.05
NOTES_NAME = "adaptation.json"


@dataclass(frozen=True, eq=False)
class SplitRows:
    """Rows of the hands for training, early stopping and decision, in order."""

    fit: NDArray[np.int64]
    watch: NDArray[np.int64]
    held_out: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outcome:
    """Result of an adaptation; ``model`` and ``notes`` are the adapted ones, whether ``kept`` or not."""

    model: HandModel
    notes: ExportMetadata
    before: Agreement
    after: Agreement
    epochs: int
    kept: bool
    parts: SplitRows
    checked: Tensor
    """(3, 3, 224, 224) held-out crops to check the export on: on noise, its default, single precision is coarser"""
    height_fraction: float
    """factor on the images' height that makes pixels square"""

    @property
    def gain(self) -> float:
        """Fraction by which the held-out 2D distance decreased."""
        return 1 - self.after.distance / self.before.distance


def split_rows(count: int) -> SplitRows:
    """Split rows 0..count of hands into twelve blocks; HandvizError if there are too few."""
    if count < MIN_HANDS:
        raise HandvizError(
            f"hands were found in {count} images; at least {MIN_HANDS} are needed to learn from some and to decide "
            "on others: take a longer clip, or more images, with one hand in sight",
            ErrorCode.NO_HANDS,
        )
    blocks = np.array_split(np.arange(count), BLOCKS)
    rest = [number for number in range(BLOCKS) if number not in (*WATCHED, *HELD_OUT)]
    return SplitRows(*(np.concatenate([blocks[number] for number in chosen]) for chosen in (rest, WATCHED, HELD_OUT)))


def start_from(path: Path, template: HandTemplate) -> Exported:
    """Read a checkpoint's folder or an ONNX file; HandvizError if it is neither."""
    if path.suffix == ".onnx":
        return read_onnx(path, template)
    model, config, notes = load_checkpoint(path, template)
    commit = read_metadata(path).get("commit", "unknown")
    return Exported(
        model, config, ExportMetadata(commit, int(notes.get("samples_seen", 0)), calibration_metadata(notes))
    )


def views_of(model: HandModel, cuts: Sequence[Cuts], height_fraction: float, true_fraction: float) -> Views:
    """Return cuts of all hands, one set after the other, with the network's frozen features.

    ``height_fraction`` is that of the images they were cut from, ``true_fraction`` that of square pixels.
    """
    maps, landmarks = stem_maps(model, np.concatenate([part.crops for part in cuts]))
    keypoints = np.concatenate([part.keypoints for part in cuts])
    camera_model = intrinsics_in_crop(np.concatenate([part.affines for part in cuts]), height_fraction / true_fraction)
    return Views(
        Cached(maps, landmarks), *(torch.tensor(part, dtype=torch.float32) for part in (keypoints, camera_model))
    )


def intrinsics_in_crop(affines: FloatArray, height_fraction: float) -> FloatArray:
    """Return the change (N, 2, 2) of directions in crops (N, 2, 3) of images ``height_fraction`` as high as with square
    pixels; areas stay."""
    linear = affines[:, :, :2]
    squeeze = np.diag([1.0, height_fraction]) / np.sqrt(height_fraction)
    return np.asarray(linear @ squeeze @ np.linalg.inv(linear))


def true_height_fraction(model: HandModel, hands: ClipCrops, regressor: Tensor, rho: float) -> float:
    """Return the factor on the images' height at which network and detector agree best; 1 unless it is clear.

    Pixels of a camera or file that are not square have the same effect in every frame.
    """
    found = []
    for fraction in FRACTIONS:
        views = views_of(model, [cuts_of(hands, height_fraction=fraction)], fraction, fraction)
        found.append(distances(model, views, regressor, rho).numpy())
        logger.debug("images %.2f times as high: 2D distance %.2f %% of the hand", fraction, found[-1].mean())
    means = [float(part.mean()) for part in found]
    return between(FRACTIONS, means) if _is_clear(found[int(np.argmin(means))], found[FRACTIONS.index(1.0)]) else 1.0


def _is_clear(best: FloatArray, usual: FloatArray) -> bool:
    """Return whether distances (N,) are clearly smaller than the usual ones, in nearly every part of the clip."""
    gains = [float(part.mean()) for part in np.array_split(usual - best, 6)]
    return float(best.mean()) < (1 - CLEARLY_NEARER) * float(usual.mean()) and sum(gain > 0 for gain in gains) >= 5


def between(fractions: Sequence[float], distances: Sequence[float]) -> float:
    """Return the minimum of the parabola through the least distance and its neighbours, over log fractions."""
    best = min(max(int(np.argmin(distances)), 1), len(fractions) - 2)
    around = slice(best - 1, best + 2)
    curvature, slope, _ = np.polyfit(np.log(fractions[around]), distances[around], 2)
    lowest = -slope / (2 * curvature) if curvature > 0 else np.log(fractions[best])
    return float(np.exp(np.clip(lowest, np.log(fractions[best - 1]), np.log(fractions[best + 1]))))


def adapt(start: Exported, hands: ClipCrops, template: HandTemplate, config: AdaptConfig) -> Outcome:
    """Train on the clip's hands and decide on the held-out ones."""
    parts = split_rows(len(hands))
    torch.manual_seed(config.seed)
    model = copy.deepcopy(start.model)
    rho = start.metadata.std.vertex_correlation
    regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32)
    fit = hands.rows(parts.fit)
    tried = fit.rows(np.arange(0, len(fit), -(-len(fit) // MAX_TRIED)))
    fraction = true_height_fraction(model, tried, regressor, rho)
    rows = {"fit": parts.fit, "watched": parts.watch, "held out": parts.held_out}
    views = {name: views_of(model, [cuts_of(hands.rows(part))], 1.0, fraction) for name, part in rows.items()}

    def fits(name: str) -> Agreement:
        return agreement(model, views[name], regressor, rho, config)

    before, first = fits("held out"), fits("fit")
    data = TrainingData(*_views_and_teacher(model, fit, fraction, config), regressor, rho)
    task = Adaptation(model, data, config, lambda: fits("watched"))
    # A loss that is not finite ends training: the best weights stay.
    with suppress(LossNotFiniteError):
        Trainer(task).fit()
    model.load_state_dict(task.best_weights)
    after, scale = fits("held out"), fits("fit").standardised / first.standardised
    kept = task.best_epoch > 0 and is_better(before, after)
    checked = image_batch(hands.crops[parts.held_out[:CHECKED_CROPS]])
    return Outcome(model, _notes(start.metadata, scale), before, after, task.best_epoch, kept, parts, checked, fraction)


def _views_and_teacher(
    model: HandModel, hands: ClipCrops, fraction: float, config: AdaptConfig
) -> tuple[Views, Teacher]:
    """Return cuts of the images as they are, for training, and the teacher's predictions for square pixels."""
    rng = np.random.default_rng(config.seed)

    def cuts(height_fraction: float) -> list[Cuts]:
        jittered = [cuts_of(hands, height_fraction=height_fraction, rng=rng) for _ in range(JITTERED)]
        return [cuts_of(hands, height_fraction=height_fraction), *jittered]

    numbers = torch.from_numpy(hands.numbers) if hands.is_clip else None
    teacher = teacher_of(model, views_of(model, cuts(fraction), fraction, fraction), 1 + JITTERED, numbers, config)
    return views_of(model, cuts(1.0), 1.0, fraction), teacher


def is_better(before: Agreement, after: Agreement) -> bool:
    """Return whether the held-out frames show an improvement large enough to keep the adapted network."""
    nearer = after.distance <= (1 - MIN_GAIN) * before.distance
    return nearer and after.standardised <= MAX_STANDARDISED_GROWTH * before.standardised


def _notes(before: ExportMetadata, scale: float) -> ExportMetadata:
    """Scale the variances by the change of the standardised 2D errors."""
    known = before.std
    return replace(
        before,
        std=CalibrationMetadata(
            known.vertex_correlation, known.vertex_variance_scale * scale, known.keypoint_variance_scale * scale
        ),
    )


def write_outcome(
    outcome: Outcome, start: Exported, template: HandTemplate, out: Path, metadata: dict[str, object]
) -> Path:
    """Write the ONNX file and its notes; HandvizError if the folder cannot be written or holds the shipped networks."""
    path = model_file(start.config.variant, out)
    notes = metadata | {"before": outcome.before._asdict(), "after": outcome.after._asdict()}
    export_onnx(outcome.model, start.config, template, path, outcome.notes, check_images=outcome.checked)
    write_files({out / NOTES_NAME: (json.dumps(notes, indent=2) + "\n").encode()})
    return path


def check_out(out: Path) -> None:
    """Create the folder; HandvizError if it cannot be written or holds the shipped networks."""
    if out.resolve() == MODELS.resolve():
        raise HandvizError(
            f"{out} holds the networks that handviz ships, which adapt never overwrites: choose another --out",
            ErrorCode.FOLDER_TAKEN,
        )
    probe = unfinished_path(out / "adapt")
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise HandvizError(
            f"the folder {out} cannot be written ({error}): choose another --out", write_error_code(error)
        ) from error
