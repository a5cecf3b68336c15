"""A family of one model that takes crops of 128 pixels in the image's axes, and answers with the hand at rest."""

from collections.abc import Sequence

import numpy as np

from handviz.core.records import CropSpec, HandCrop, NetworkFile, NetworkOutput
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.template import HandTemplate
from handviz.models.base import LoadContext, ModelFamily, ModelSpec

SIDE_PX = 128
CROP_FILL = 1.1
"""The part of the crop's side that the hand has, per side of the keypoints' box in a crop of handviz."""


class RestingHand:
    """The open hand at rest, palm to the camera, without uncertainty."""

    provider = "CPUExecutionProvider"
    file = NetworkFile("no file", "", "own")

    def __init__(self) -> None:
        self.template: HandTemplate = load_open_hand()

    def reconstruct(self, crops: Sequence[HandCrop], /) -> list[NetworkOutput]:
        """Return the same hand for every crop."""
        return [self._hand(crop) for crop in crops]

    def _hand(self, crop: HandCrop) -> NetworkOutput:
        assert crop.image.shape == (SIDE_PX, SIDE_PX, 3)
        vertices_m = self.template.vertices_m
        keypoints_m = self.template.keypoint_regressor @ vertices_m
        rotation = np.diag([1.0, -1.0, -1.0])
        extent_m = float(np.ptp(keypoints_m[:, :2], axis=0).max())
        return NetworkOutput(
            vertices_m=vertices_m,
            keypoints_m=keypoints_m,
            rotation=rotation,
            scale=CROP_FILL / extent_m,
            translation=np.zeros(2),
        )


def load(_: LoadContext) -> RestingHand:
    """Return the model; it has no file."""
    return RestingHand()


FAMILY = ModelFamily(
    "stranger",
    "Stranger",
    (
        ModelSpec(
            id="stranger",
            label="Resting hand",
            family="stranger",
            hand_model="open_hand",
            provides=frozenset(),
            load=load,
            crop=CropSpec(size_px=SIDE_PX, is_upright=False),
            hint="The same hand for every image",
        ),
    ),
)
