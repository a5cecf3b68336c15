"""A crop that does not look like the hand it was called is tried as the other hand.

The detector sometimes names a hand's side wrongly, and a mirrored hand is then reconstructed. MediaPipe's own heads,
which the networks carry as a witness, judge the side again on the upright crop. In pictures, not in streams: there the
side is settled over frames (``detect/handedness.py``).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import CanonicalHand, HandCrop, Handedness
from handviz.detection.crop import crop_hand
from handviz.models.reconstructor import HandReconstructor

DOUBTFUL = 0.5
CLEARLY_BETTER = 0.4


def reconstruct_and_look_again(
    image: NDArray[np.uint8], crops: Sequence[HandCrop], network: HandReconstructor
) -> tuple[list[HandCrop], list[CanonicalHand]]:
    """Crops of an RGB image (H, W, 3) and their hands; those of the other side where that fits far better."""
    chosen, hands = list(crops), network.reconstruct(crops)
    doubtful = [index for index, hand in enumerate(hands) if hand.right_hand < DOUBTFUL]
    others = [_as_the_other_hand(image, crops[index]) for index in doubtful]
    for index, crop, hand in zip(doubtful, others, network.reconstruct(others), strict=True):
        if hand.right_hand - hands[index].right_hand > CLEARLY_BETTER:
            chosen[index], hands[index] = crop, hand
    return chosen, hands


def _as_the_other_hand(image: NDArray[np.uint8], crop: HandCrop) -> HandCrop:
    other: Handedness = "left" if crop.detection.handedness == "right" else "right"
    return crop_hand(image, replace(crop.detection, handedness=other))
