"""Rows of the paper's tables without a download, on rendered hands: new heads on a frozen backbone, or the whole row.

Of a recipe on a frozen backbone variant, form of AMVUR, supervision and loss are used; what makes it cheap is the same
for every row: the backbone's features are computed once, tokens are coarse, training is short. End to end all of the
recipe is used, and only the hands are others (docs/research/reproduction.md).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import FloatArray
from handviz.data.synthetic.dataset import Crops
from handviz.evaluation.card import Answers, Card, card
from handviz.evaluation.definitions import CameraPoints, mean_intervals, score
from handviz.evaluation.evaluate import checkpoint_predictor, collect
from handviz.evaluation.recipes import Recipe
from handviz.evaluation.tables import RENDERED, Result, write_result
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.model import ModelConfig
from handviz.models.amvur.training_checkpoint import load_checkpoint
from handviz.models.amvur.training_config import TrainConfig

ALIGNMENTS = ("root_", "procrustes_")
"""Of the official measures; crops have no camera, so nothing is compared in the camera frame."""
STEPS_OF_IMAGES = 50
"""From one checkpoint to the next end to end: ten minutes of one core"""
POINT_FIGURES = (
    *("mpjpe_mm", "pa_mpjpe_mm", "pa_mpjpe_visible_mm", "pa_mpjpe_hidden_mm", "pa_mpvpe_mm", "f5", "f15"),
    *("rotation_median_deg", "rotation_mean_deg", "mpjpe_true_rotation_mm", "mpjpe_true_rotation_size_mm"),
)
"""Numbers of the card that a mean without a variance has."""


@dataclass(frozen=True)
class RenderedHands:
    """The settings that rows on rendered hands share: only rows that share all of them can be compared."""

    data: tuple[Path, ...]
    """Folders of rendered crops to train on"""
    test: Path
    """Another such folder, not trained on"""
    backbone_from: Path | None = None
    """Checkpoint whose backbone is the frozen one; None: MediaPipe's weights"""
    end_to_end: bool = False
    """Train the recipe's whole network on the images"""
    epochs: int = 2
    limit: int | None = None
    """Train on the first crops only"""
    test_limit: int | None = None

    def __post_init__(self) -> None:
        if self.test_limit is not None and self.test_limit < 1:
            raise HandvizError(f"--test-limit is {self.test_limit}, it must be at least 1", ErrorCode.BAD_VALUE)
        if self.test.resolve() in [folder.resolve() for folder in self.data]:
            raise HandvizError(
                f"{self.test} is trained on: test on a folder of another seed", ErrorCode.OPTION_CONFLICT
            )
        if self.end_to_end and self.backbone_from is not None:
            raise HandvizError(
                "--backbone-from gives a frozen backbone, and --end-to-end trains it: leave one of them out",
                ErrorCode.OPTION_CONFLICT,
            )


def rendered_config(
    recipe: Recipe, hands: RenderedHands, run: Path, template: HandTemplate, *, camera_prior: Path | None = None
) -> TrainConfig:
    """Return the training config of a recipe on rendered hands; HandvizError if the backbone's checkpoint cannot be
    read."""
    config = recipe.config(hands.data, run, camera_prior=camera_prior)
    if hands.end_to_end:
        return replace(config, limit=hands.limit, epochs=hands.epochs, checkpoint_every=STEPS_OF_IMAGES)
    small = ModelConfig()
    backbone = small.backbone
    if hands.backbone_from is not None:
        backbone = load_checkpoint(hands.backbone_from, template)[1].backbone
    model = replace(config.model, backbone=backbone, tokens=small.tokens, width=small.width, landmark_stem=False)
    return replace(
        config,
        model=model,
        backbone_from=hands.backbone_from,
        limit=hands.limit,
        epochs=hands.epochs,
        end_to_end=False,
        tail_rate=0.0,
        head_rate=1e-3,
        batch_size=64,
        warm_up_steps=60,
    )


def evaluate_rendered(config: TrainConfig, hands: RenderedHands, template: HandTemplate) -> tuple[Result, Card]:
    """Test the checkpoint of a run and write its result beside it; return that and the card of the same crops."""
    last, name = config.run / "last", hands.test.resolve().name
    answers = collect([Crops(hands.test, hands.test_limit)], checkpoint_predictor(last, template), template)
    columns = rendered_scores(answers)
    _, _, notes = load_checkpoint(last, template)
    result = Result(
        path=config.run / f"official_{RENDERED}_{name}.json",
        recipe=config.recipe,
        model=str(last),
        dataset=RENDERED,
        split=name,
        samples=len(answers.hidden_fraction),
        crops_seen=int(notes.get("samples_seen", 0)),
        figures={column: float(values.mean()) for column, values in columns.items()},
        conditions=_conditions(notes, template),
    )
    write_result(result, _intervals(columns))
    has_variance = config.model.variant == "prior" or config.loss.likelihood != "l2"
    return result, card(answers) if has_variance else without_uncertainty(card(answers))


def rendered_scores(answers: Answers) -> dict[str, FloatArray]:
    """Return the official measures (N,) of points in the crop's axes, root-relative and after Procrustes."""
    columns = (answers.keypoints_m, answers.true_keypoints_m, answers.vertices_m, answers.true_vertices_m)
    scores = score(CameraPoints(*(points.astype(np.float64) for points in columns)))
    return {name: values for name, values in scores.columns.items() if name.startswith(ALIGNMENTS)}


def without_uncertainty(found: Card) -> Card:
    """Return a card without the numbers that need a variance: L2 trains none."""
    return replace(found, **{name: math.nan for name in vars(found) if name not in POINT_FIGURES})


def _intervals(columns: dict[str, FloatArray]) -> dict[str, tuple[float, float]]:
    values = np.stack(list(columns.values()), axis=1)
    ends = mean_intervals(values, [str(row) for row in range(len(values))])
    return {name: (float(low), float(high)) for name, low, high in zip(columns, *ends, strict=True)}


def _conditions(notes: dict[str, Any], template: HandTemplate) -> str:
    """Return the training conditions of a checkpoint that all rows of a table must share."""
    train = notes["train"]
    return (
        f"{notes['step']:,} steps of {train['batch_size']} crops ({notes['samples']:,} of {_joined(train['data'])}), "
        f"seed {train['seed']}, {_trained_part(train)}, hand model {template.name}"
    )


def _trained_part(train: dict[str, Any]) -> str:
    if train["end_to_end"]:
        return f"end to end from {train['backbone_weights'] or 'random weights'}, {train['model']['backbone']}"
    return f"heads alone on the frozen backbone of {train['backbone_from'] or 'MediaPipe'}"


def _joined(folders: Sequence[str]) -> str:
    return " and ".join(folders)
