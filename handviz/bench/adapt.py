"""Adaptation to a camera: a clip without labels in, a network that fits it better out, or the word that none was found.

Frames are parted into blocks that follow each other: most to learn from, some to watch for the moment to stop, some
that nothing but the decision sees. Neighbours in a clip are nearly the same picture, so that frames drawn at random
would tell nothing.
"""

import copy
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from handviz.bench.clip_crops import ClipCrops
from handviz.errors import HandvizError
from handviz.hand_model.template import HandTemplate
from handviz.nets.export import DeviationNotes, ExportNotes, export_onnx
from handviz.nets.from_onnx import Exported, read_onnx
from handviz.nets.model import Cached, HandModel
from handviz.paths import MODELS, variant_file
from handviz.train.adaptation import Adaptation, AdaptConfig, Agreement, Views, agreement, teacher_of
from handviz.train.cache import stem_maps
from handviz.train.checkpoint import deviation_notes, load_checkpoint, read_metadata

logger = logging.getLogger(__name__)
LEAST_HANDS = 48
"""Below this the held-out frames are too few for a decision."""
BLOCKS = 12
WATCHED, HELD_OUT = (3, 8), (1, 5, 10)
"""Blocks of the twelve that are watched, and that decide; the others teach."""
LEAST_GAIN = 0.03
"""Of the 2D distance on held-out frames, as a share of what it was: less is chance."""
WORST_STANDARDISED = 1.1
"""By how much the squared standardised error may grow, at most, against what it was."""
NOTES_NAME = "adaptation.json"


@dataclass(frozen=True, eq=False)
class Parts:
    """Rows of the hands, in order."""

    fit: NDArray[np.int64]
    watch: NDArray[np.int64]
    held_out: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an adaptation came to; ``model`` and ``notes`` are the adapted ones whether they are kept or not."""

    model: HandModel
    notes: ExportNotes
    before: Agreement
    after: Agreement
    epochs: int
    kept: bool
    parts: Parts

    @property
    def gain(self) -> float:
        """Share by which the held-out 2D distance fell."""
        return 1 - self.after.distance / self.before.distance


def parted(count: int) -> Parts:
    """Rows 0..count of hands in twelve blocks; HandvizError if there are too few."""
    if count < LEAST_HANDS:
        raise HandvizError(
            f"hands were found in {count} pictures; at least {LEAST_HANDS} are needed to learn from some and to decide "
            "on others: take a longer clip, or more pictures, with one hand in sight"
        )
    blocks = np.array_split(np.arange(count), BLOCKS)
    rest = [number for number in range(BLOCKS) if number not in (*WATCHED, *HELD_OUT)]
    return Parts(*(np.concatenate([blocks[number] for number in chosen]) for chosen in (rest, WATCHED, HELD_OUT)))


def start_from(path: Path, template: HandTemplate) -> Exported:
    """A checkpoint's folder or an ONNX file; HandvizError if it is neither."""
    if path.suffix == ".onnx":
        return read_onnx(path, template)
    model, config, notes = load_checkpoint(path, template)
    commit = read_metadata(path).get("commit", "unknown")
    return Exported(model, config, ExportNotes(commit, int(notes.get("samples_seen", 0)), deviation_notes(notes)))


def views_of(model: HandModel, crops: ClipCrops) -> Views:
    """Every cut of every hand, (N x C), with what the frozen part of the network says of it."""
    pictures = crops.crops.reshape(-1, *crops.crops.shape[2:])
    maps, landmarks = stem_maps(model, pictures)
    keypoints = torch.tensor(crops.keypoints.reshape(-1, *crops.keypoints.shape[2:]), dtype=torch.float32)
    return Views(Cached(maps, landmarks), keypoints)


def _of_hands(views: Views, rows: NDArray[np.int64], cuts: int, *, first_only: bool) -> Views:
    """The cuts of some hands, or the first of each alone: the one that the program would make."""
    ids = torch.from_numpy(rows)[:, None] * cuts + torch.arange(1 if first_only else cuts)[None]
    flat = ids.reshape(-1)
    maps, landmarks = views.cached
    return Views(Cached(maps[flat], None if landmarks is None else landmarks[flat]), views.keypoints[flat])


def adapt(
    start: Exported, crops: ClipCrops, template: HandTemplate, config: AdaptConfig,
    told: Callable[[str], None] = logger.info,
) -> Outcome:  # fmt: skip
    """Learn from the crops and decide on those that were held out."""
    parts = parted(len(crops))
    torch.manual_seed(config.seed)
    model = copy.deepcopy(start.model)
    rho = start.notes.deviation.vertex_correlation
    regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32)
    views, cuts = views_of(model, crops), crops.crops.shape[1]
    fit = _of_hands(views, parts.fit, cuts, first_only=False)
    watched, held_out = (_of_hands(views, rows, cuts, first_only=True) for rows in (parts.watch, parts.held_out))
    numbers = torch.from_numpy(crops.numbers[parts.fit]) if crops.is_clip else None
    teacher = teacher_of(model, fit, cuts, numbers, config)

    def fits(views: Views) -> Agreement:
        return agreement(model, views, regressor, rho, config)

    first = fits(_of_hands(views, parts.fit, cuts, first_only=True))
    before, best, best_weights, best_epoch = fits(held_out), fits(watched), copy.deepcopy(model.state_dict()), 0
    told(f"watched frames: 2D distance {best.distance:.2f} % of the hand, before any learning")
    run = Adaptation(model, fit, teacher, regressor, rho, config)
    with tqdm(total=config.epochs, unit="epoch", desc="learning") as bar:
        for number in range(1, config.epochs + 1):
            run.epoch()
            now = fits(watched)
            bar.update(1)
            bar.set_postfix_str(f"2D distance {now.distance:.2f} %")
            if now.distance < best.distance:
                best, best_weights, best_epoch = now, copy.deepcopy(model.state_dict()), number
            elif number - best_epoch >= config.patience:
                break
    model.load_state_dict(best_weights)
    scale = fits(_of_hands(views, parts.fit, cuts, first_only=True)).standardised / first.standardised
    after = fits(held_out)
    kept = best_epoch > 0 and is_better(before, after)
    return Outcome(model, _notes(start.notes, scale), before, after, best_epoch, kept, parts)


def is_better(before: Agreement, after: Agreement) -> bool:
    """Whether held-out frames say that the adapted network is to be kept."""
    nearer = after.distance <= (1 - LEAST_GAIN) * before.distance
    return nearer and after.standardised <= WORST_STANDARDISED * before.standardised


def _notes(before: ExportNotes, scale: float) -> ExportNotes:
    """Variances grow or shrink as the 2D errors did against what they told."""
    known = before.deviation
    return replace(
        before,
        deviation=DeviationNotes(
            known.vertex_correlation, known.vertex_variance_scale * scale, known.keypoint_variance_scale * scale
        ),
    )


def write_outcome(
    outcome: Outcome, start: Exported, template: HandTemplate, out: Path, story: dict[str, object]
) -> Path:
    """The ONNX file and its notes; HandvizError if the folder cannot be written or is that of the shipped networks."""
    path = variant_file(start.config.variant, out)
    notes = json.dumps(story | {"before": outcome.before._asdict(), "after": outcome.after._asdict()}, indent=2)
    try:
        export_onnx(outcome.model, start.config, template, path, outcome.notes)
        (out / NOTES_NAME).write_text(notes + "\n", encoding="utf-8")
    except OSError as error:
        path.with_name(path.name + ".part").unlink(missing_ok=True)
        raise HandvizError(f"{path} cannot be written ({error}): choose another --out, or make room") from error
    return path


def check_out(out: Path) -> None:
    """Make the folder; HandvizError if it cannot be written or holds the shipped networks."""
    if out.resolve() == MODELS.resolve():
        raise HandvizError(
            f"{out} holds the networks that handviz ships, which adapt never overwrites: choose another --out"
        )
    probe = out / ".adapt.part"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise HandvizError(f"the folder {out} cannot be written ({error}): choose another --out") from error
