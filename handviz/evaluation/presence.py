"""How well a model tells crops that show a hand from those that show none, beside MediaPipe's presence.

The errors of the card count no crop without a hand, and know nothing of a model that sees hands where there are none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from handviz.core.metrics import roc_auc
from handviz.core.records import FloatArray
from handviz.data.synthetic.dataset import Crops
from handviz.detection.landmark_network import LandmarkNetwork, batch_of
from handviz.evaluation.card import Answers, cell, means_by_part
from handviz.evaluation.evaluate import read_crops
from handviz.evaluation.predictors import BATCH, crop_of, recropped
from handviz.hand_models.template import HandTemplate
from handviz.training.families import Predictor

LIMIT = 0.5
"""Probability from which a crop counts as showing a hand."""
MEDIAPIPE = "MediaPipe's presence"


@dataclass(frozen=True)
class PresenceFigures:
    """How well a probability tells crops with a hand from those without."""

    hands: int
    """crops that show a hand"""
    without_hand: int
    """crops that show none"""
    auc: float
    """area under the ROC curve: 1 is perfect, 0.5 tells nothing"""
    kept: float
    """fraction of the hands with a probability of at least LIMIT"""
    kept_visible: float
    """that of the hands less than half occluded by objects"""
    kept_hidden: float
    """that of the others, the heavily hidden ones"""
    refused: float
    """fraction of the crops without a hand that have a lower one"""


def presence_figures(
    of_hands: FloatArray, hidden_fraction: FloatArray, without_hand: FloatArray
) -> PresenceFigures | None:
    """Return the figures of probabilities (N,) of crops with a hand and (M,) without; None without any of either.

    ``hidden_fraction`` (N,) is that of the hands.
    """
    if not len(of_hands) or not len(without_hand):
        return None
    kept = means_by_part((of_hands >= LIMIT).astype(np.float64), hidden_fraction)
    return PresenceFigures(
        hands=len(of_hands),
        without_hand=len(without_hand),
        auc=roc_auc(of_hands, without_hand),
        kept=kept.everything,
        kept_visible=kept.visible,
        kept_hidden=kept.heavily_hidden,
        refused=float((without_hand < LIMIT).mean()),
    )


class PresenceScores:
    """Collects the figures of several models on the same crops."""

    def __init__(self, hands: Sequence[Crops], without_hand: Callable[[], Sequence[Crops]]) -> None:
        """Take the folders with hands, and what gives those with crops without: they are only made for a model that
        has a probability."""
        self.figures: dict[str, PresenceFigures] = {}
        """of each model by title"""
        self.crops = list(hands)
        """Folders with hands"""
        self._without_hand = cache(without_hand)

    def add(self, title: str, answers: Answers, predict: Predictor, template: HandTemplate) -> None:
        """Add a model by its answers to the crops with a hand; nothing if it has no probability."""
        if not np.isnan(answers.hand_probability).any():
            of_empty = probabilities_without_hand(self._without_hand(), predict, template)
            self._keep(title, presence_figures(answers.hand_probability, answers.hidden_fraction, of_empty))

    def add_mediapipe(self, template: HandTemplate) -> None:
        """Add the presence of MediaPipe's landmark network on the same crops."""
        of_empty, _ = mediapipe_presence(self._without_hand(), template, hands=False)
        if len(of_empty):
            self._keep(MEDIAPIPE, presence_figures(*mediapipe_presence(self.crops, template, hands=True), of_empty))

    def _keep(self, title: str, found: PresenceFigures | None) -> None:
        if found is not None:
            self.figures[title] = found


def probabilities_without_hand(crops: Sequence[Crops], predict: Predictor, template: HandTemplate) -> FloatArray:
    """Return a model's own probability of a hand (M,) on every crop without one; nan if it predicts none."""
    shards = (recropped(shard.images, crop_of(predict)) for shard in read_crops(crops, template, hands=False))
    return np.array([hand.hand_probability for images in shards for hand in predict(images)], np.float64)


def mediapipe_presence(crops: Sequence[Crops], template: HandTemplate, *, hands: bool) -> tuple[FloatArray, FloatArray]:
    """Return the presence (N,) that MediaPipe's landmark network gives every crop with a hand, or every one without,
    and the ``hidden_fraction`` (N,) of the crops."""
    network, found = LandmarkNetwork(), []
    fractions: list[FloatArray] = [np.zeros(0)]
    for shard in read_crops(crops, template, hands=hands):
        starts = range(0, len(shard.images), BATCH)
        batches = [batch_of(list(shard.images[start : start + BATCH])) for start in starts]
        found += [seen.presence for batch in batches for seen in network.of_images(batch)]
        fractions.append(shard.labels["hidden_share"])
    return np.array(found, np.float64), np.concatenate(fractions)


def presence_table(figures: Mapping[str, PresenceFigures]) -> str:
    """Return a Markdown table, one row per model; empty without any."""
    if not figures:
        return ""
    one = next(iter(figures.values()))
    titles = ("AUC", f"hands kept at {LIMIT}", "visible hands", "heavily hidden", "crops without a hand refused")
    lines = [
        f"Probability that a crop shows a hand, on {one.hands} crops with and {one.without_hand} without one:\n",
        "| | " + " | ".join(titles) + " |",
        "|---" * (len(titles) + 1) + "|",
    ]
    for title, row in figures.items():
        parts = [cell("{:.1%}", value) for value in (row.kept, row.kept_visible, row.kept_hidden, row.refused)]
        lines.append("| " + " | ".join([title, f"{row.auc:.4f}", *parts]) + " |")
    return "\n".join(lines) + "\n"
