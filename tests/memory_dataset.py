"""A dataset in memory, made of tiny hands: what readers give, without files."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import project_points
from handviz.core.records import FloatArray
from handviz.data.datasets.annotated import AnnotatedHand
from handviz.hand_models.mano.parameters import MIRROR, ManoParameters
from tests.fake_datasets.hands import TinyHand
from tests.fake_datasets.stand_in_mano import stand_in_template


def keypoints_m(hand: TinyHand) -> FloatArray:
    """(21, 3) of the template, in the camera's frame."""
    return stand_in_template().keypoint_regressor @ (hand.vertices_m - hand.wrist_m) + hand.wrist_m


def annotated(hand: TinyHand, name: str = "hand") -> AnnotatedHand:
    """Return a tiny hand as a dataset reader does."""
    template = stand_in_template()
    wrist = template.joint_regressor[0] @ np.einsum("vcs,s->vc", template.shape_basis, hand.shape)
    parameters = ManoParameters(
        hand.handedness,
        "absolute",
        hand.pose,
        hand.shape,
        hand.global_rotation,
        hand.wrist_m - wrist * (MIRROR if hand.handedness == "left" else 1),
    )
    points_m = keypoints_m(hand)
    return AnnotatedHand(
        name,
        Path(name + ".jpg"),
        hand.handedness,
        hand.intrinsics,
        project_points(points_m, hand.intrinsics),
        points_m,
        hand.vertices_m,
        parameters,
    )


class MemoryDataset:
    """Tiny hands as a split; those in ``broken`` have no image, ``flat`` ones no 3D truth."""

    name, split = "freihand", "training"
    tip_vertices = (744, 320, 443, 554, 671)
    warnings = ("2 hands were left out.",)

    def __init__(self, hands: list[TinyHand], broken: tuple[int, ...] = (), *, flat: bool = False) -> None:
        self.hands, self.broken, self.flat = hands, broken, flat

    def __len__(self) -> int:
        return len(self.hands)

    def hand(self, index: int) -> AnnotatedHand:
        hand = annotated(self.hands[index], f"{index:08d}")
        return replace(hand, mano=None, vertices_m=None, keypoints_m=None) if self.flat else hand

    def image(self, index: int) -> np.ndarray:
        if index in self.broken:
            raise HandvizError(f"{index:08d}.jpg is cut off.", ErrorCode.FILE_DAMAGED)
        return self.hands[index].image


def reader_of(dataset: MemoryDataset) -> ModuleType:
    """Return a stand-in for the registry's module ``freihand.py``."""
    module = ModuleType("freihand")
    module.SPLITS = {"freihand": ("training", "evaluation")}
    module.open_split = lambda name, root, split: dataset
    return module
