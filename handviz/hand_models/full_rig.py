"""The full rig of the arm mesh, for truth that leaves the open hand's space: ``assets/full_rig.npz``.

The open hand has 16 joints, and its metacarpals are one piece with the wrist. The full rig adds those of index to
little finger (``python -m tools.build full-rig``), so that a palm can be cupped.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import read_arrays
from handviz.core.paths import FULL_RIG_FILE, restore_or_build
from handviz.core.records import FloatArray
from handviz.hand_models.open_hand import load_arm_mesh
from handviz.hand_models.template import JOINT_COUNT, SHAPE_SIZE

FOREARM = JOINT_COUNT
METACARPALS = tuple(range(FOREARM + 1, FOREARM + 5))
"""Numbers of the metacarpals of index to little finger among the rig's 21 bones."""
BONE_COUNT = FOREARM + 5
PARENTS = (-1, 0, 1, 2, 17, 4, 5, 18, 7, 8, 19, 10, 11, 20, 13, 14, 0, 0, 0, 0, 0)
"""Parent of each bone: those of the open hand's joints, the forearm, the metacarpals."""
FIRST_BONES, LAST_BONES = (4, 7, 10, 13), (3, 6, 9, 12, 15)
"""The proximal bones of index to little finger, whose joints are the knuckles; the distal bones of thumb to little
finger, which end at the fingertips."""
ORDER = (0, 16, 17, 18, 19, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
"""The bones with every parent before its children."""
HOW_TO_GET = restore_or_build("build full-rig")


@dataclass(frozen=True, eq=False)
class FullRig:
    """What the rig adds to the open hand's arm mesh."""

    skinning_weights: FloatArray
    """(Va, 21) 16 joints, forearm, metacarpals of index to little finger; rows sum to 1"""
    metacarpals_m: FloatArray
    """(4, 3) rest position of the metacarpals' proximal ends, canonical frame"""
    metacarpal_basis: FloatArray
    """(4, 3, 10) change of these for one standard deviation of each shape component"""


@lru_cache(maxsize=2)
def load_full_rig(path: Path = FULL_RIG_FILE) -> FullRig:
    """Load the rig; raises HandvizError if the file is missing, damaged or of another arm mesh."""
    vertex_count = len(load_arm_mesh().vertices_m)
    shapes = {
        "skinning_weights": (vertex_count, BONE_COUNT),
        "metacarpals_m": (len(METACARPALS), 3),
        "metacarpal_basis": (len(METACARPALS), 3, SHAPE_SIZE),
    }
    arrays = read_arrays(path, HOW_TO_GET, shapes)
    for name, shape in shapes.items():
        if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
            raise HandvizError(
                f"{path}: {name} has the shape {arrays[name].shape} or is not finite, expected {shape}: {HOW_TO_GET}",
                ErrorCode.WRONG_SHAPE,
            )
    return FullRig(**{name: arrays[name] for name in shapes})
