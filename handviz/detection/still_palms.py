"""Palms that several squares of a still image show at the same place."""

from collections.abc import Sequence

import numpy as np

from handviz.detection.palm import Palm

SAME_PALM = 0.25
"""Mean distance of the keypoints of one palm in two squares, in sides of its box."""


def groups_of(palms: Sequence[Palm]) -> list[list[Palm]]:
    """Group palms at the same place; the best of each group comes first."""
    groups: list[list[Palm]] = []
    for palm in sorted(palms, key=lambda one: -one.score):
        for group in groups:
            if _is_same_palm(palm, group[0]):
                group.append(palm)
                break
        else:
            groups.append([palm])
    return groups


def sum_of(palms: Sequence[Palm]) -> float:
    """Return the sum of the scores of palms."""
    return sum(palm.score for palm in palms)


def _is_same_palm(first: Palm, second: Palm) -> bool:
    side_px = float(max(np.max(palm.box[2:] - palm.box[:2]) for palm in (first, second)))
    return bool(np.linalg.norm(first.keypoints_px - second.keypoints_px, axis=1).mean() < SAME_PALM * side_px)
