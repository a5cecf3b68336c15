"""Palm detector and landmark network together: an RGB image -> the hands in it, as MediaPipe's hand landmarker does."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import apply_affine
from handviz.core.records import CROP_SIZE, CropLandmarks, Detection
from handviz.detection.landmark_network import LandmarkNetwork, batch_of
from handviz.detection.palm import MIN_SIDE_PX, PALM_SCORE, HandSquare, Palm, PalmDetector, square_of_palm
from handviz.detection.tracking import without_duplicates

MIN_PRESENCE = 0.5
"""Below it there is no hand."""


class HandDetector:
    """Both networks of MediaPipe in ONNX Runtime."""

    def __init__(self, palms: PalmDetector | None = None, landmarks: LandmarkNetwork | None = None) -> None:
        """Load the networks that are not given; HandvizError if a file is missing or another."""
        self.palms = palms or PalmDetector()
        self.landmarks = landmarks or LandmarkNetwork()

    def detect_image(
        self, rgb: NDArray[np.uint8], *, max_hands: int = 2, min_score: float = PALM_SCORE
    ) -> tuple[Detection, ...]:
        """Return the hands of an RGB image (H, W, 3), best first; () for images below 8 pixels."""
        if min(rgb.shape[:2]) < MIN_SIDE_PX:
            return ()
        (palms,) = self.palms.find([rgb], min_score)
        return without_duplicates(self.hands_of_palms(rgb, palms[:max_hands]))

    def hands_of_palms(self, rgb: NDArray[np.uint8], palms: Sequence[Palm]) -> list[Detection]:
        """Return the hands that the landmark network sees at palms of an image (H, W, 3), in their order."""
        seen = self.in_squares(rgb, [square_of_palm(palm) for palm in palms])
        return [one.hand for one in seen if one.presence >= MIN_PRESENCE]

    def in_squares(self, rgb: NDArray[np.uint8], squares: Sequence[HandSquare]) -> list["Sighting"]:
        """Return what the landmark network sees in squares of an image (H, W, 3), in their order."""
        found = self.landmarks.of_images(batch_of([square.cut_out(rgb) for square in squares]))
        return [Sighting(hand_in_square(one, square), one.presence) for one, square in zip(found, squares, strict=True)]


class Sighting(NamedTuple):
    """What the landmark network sees in a square."""

    hand: Detection
    presence: float
    """Probability, 0 to 1, that it is one."""

    @property
    def trust(self) -> float:
        """Return the probability, 0 to 1, that it is a hand of its side."""
        return self.presence * self.hand.score


def hand_in_square(found: CropLandmarks, square: HandSquare) -> Detection:
    """Return the hand that the landmark network sees in a square, which is not mirrored."""
    in_square = (found.keypoints[:, :2].astype(np.float64) + 1) * (CROP_SIZE / 2)
    return Detection(
        handedness="right" if found.right_hand > 0.5 else "left",
        score=max(found.right_hand, 1 - found.right_hand),
        keypoints_px=apply_affine(square.image_from_square(), in_square),
    )
