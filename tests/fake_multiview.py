"""A multi-view model that triangulates the keypoints it is given, and a detector that knows them by the image."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from handviz.core.multiview import ViewHand, fit_views
from handviz.core.records import CropSpec, Detection, Frame, HandMesh, NetworkFile
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.template import HandTemplate
from handviz.models.base import LoadContext
from handviz.models.multiview import ViewCrop
from tests.hands import made_up_hand


class TriangulatingModel:
    """See ``handviz.models.multiview.MultiViewModel``; its mesh is that of a made-up hand."""

    id = "triangulated"
    crop = CropSpec(size_px=64)
    file = NetworkFile("none.onnx", "", "own")

    def __init__(self, template: HandTemplate | None = None) -> None:
        self.template = template or load_open_hand()
        self.seen: list[Sequence[ViewCrop]] = []

    def reconstruct(self, views: Sequence[ViewCrop], /) -> HandMesh:
        self.seen.append(views)
        found = fit_views([ViewHand(view.name, view.camera, view.crop.detection.keypoints_px) for view in views])
        keypoints_m = views[0].camera.in_camera(found.keypoints_m)
        return replace(
            made_up_hand(handedness=views[0].crop.detection.handedness),
            vertices_m=self.template.vertices_m,
            vertex_std_mm=np.full(len(self.template.vertices_m), 5.0),
            keypoints_m=keypoints_m - keypoints_m[0],
            wrist_camera_m=keypoints_m[0],
            intrinsics=views[0].camera.intrinsics,
        )


def load(context: LoadContext) -> TriangulatingModel:
    """Return the model, as a ``MultiViewLoader`` does."""
    return TriangulatingModel()


class KnowingDetector:
    """Finds in an image the hands that belong to the number in its first pixel."""

    def __init__(self, hands: dict[int, tuple[Detection, ...]]) -> None:
        self.hands, self.is_closed = hands, False

    def detect(self, frame: Frame) -> tuple[Detection, ...]:
        return self.hands.get(int(frame.image[0, 0, 0]), ())

    def close(self) -> None:
        self.is_closed = True
