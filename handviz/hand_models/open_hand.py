"""The open hand, the hand model that handviz ships: ``assets/open_hand.npz`` (``python -m tools.build open-hand``)."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import read_arrays
from handviz.core.paths import OPEN_HAND_FILE, restore_or_build
from handviz.core.records import FloatArray
from handviz.hand_models.template import HandTemplate, checked

PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
TEMPLATE_ARRAYS = (
    "vertices_m",
    "faces",
    "shape_basis",
    "skinning_weights",
    "joint_regressor",
    "keypoint_regressor",
    "pose_mean",
    "pose_components",
    "uv",
    "coarse_ids",
    "full_from_coarse",
)
HOW_TO_GET = restore_or_build("build open-hand")


@dataclass(frozen=True, eq=False)
class DisplayMesh:
    """The dense mesh for drawing: its values are weighted sums of values at the template's vertices."""

    faces: NDArray[np.int32]
    """(Fd, 3)"""
    token_ids: NDArray[np.int32]
    """(Vd, K)"""
    token_weights: NDArray[np.float32]
    """(Vd, K), rows sum to 1"""
    uv: NDArray[np.float32]
    """(Vd, 2)"""

    @property
    def vertex_count(self) -> int:
        return len(self.token_ids)

    def lift(self, values: FloatArray) -> FloatArray:
        """Interpolate values at the template's vertices (V, ...) at the dense ones (Vd, ...)."""
        flat = values.reshape(len(values), -1)
        lifted = np.einsum("vk,vkc->vc", self.token_weights, flat[self.token_ids])
        return lifted.reshape(len(lifted), *values.shape[1:])


@dataclass(frozen=True, eq=False)
class ArmMesh:
    """Hand and forearm for rendering training images; posed by the template's 16 joints and a forearm joint."""

    vertices_m: FloatArray
    """(Va, 3)"""
    faces: NDArray[np.int32]
    shape_basis: FloatArray
    """(Va, 3, 10)"""
    skinning_weights: FloatArray
    """(Va, 17): the template's joints, then the forearm (which rotates about the wrist)."""
    palm: FloatArray
    """(Va,) 0 on the back of the hand, 1 on the palm."""
    nail: FloatArray
    """(Va,) 1 on finger nails."""
    hand_ids: NDArray[np.int32]
    """(V,) indices of the template's vertices in the arm."""


def _read(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    return read_arrays(path, HOW_TO_GET, names)


def _template(arrays: dict[str, np.ndarray], path: Path) -> HandTemplate:
    template = HandTemplate(
        name="open_hand",
        pose_basis=np.zeros((len(arrays["vertices_m"]), 3, 135), np.float32),
        parents=PARENTS,
        **{name: arrays[name] for name in TEMPLATE_ARRAYS},
    )
    if template.fingerprint != str(arrays["fingerprint"]):
        raise HandvizError(f"{path} does not match its own fingerprint: {HOW_TO_GET}", ErrorCode.CHECKSUM)
    return checked(template)


@lru_cache(maxsize=2)
def load_open_hand(path: Path = OPEN_HAND_FILE) -> HandTemplate:
    """Load the hand template; raises HandvizError if the file is missing, damaged or altered."""
    return _template(_read(path, (*TEMPLATE_ARRAYS, "fingerprint")), path)


@lru_cache(maxsize=2)
def load_display_mesh(path: Path = OPEN_HAND_FILE) -> DisplayMesh:
    """Load the dense mesh for drawing; raises HandvizError if the file is missing or damaged."""
    names = ("faces", "token_ids", "token_weights", "uv")
    arrays = _read(path, [f"display_{name}" for name in names])
    return DisplayMesh(**{name: arrays[f"display_{name}"] for name in names})


@lru_cache(maxsize=2)
def load_arm_mesh(path: Path = OPEN_HAND_FILE) -> ArmMesh:
    """Load hand and forearm for the generator; raises HandvizError if the file is missing or damaged."""
    names = ("vertices_m", "faces", "shape_basis", "skinning_weights", "palm", "nail", "hand_ids")
    arrays = _read(path, [f"arm_{name}" for name in names])
    return ArmMesh(**{name: arrays[f"arm_{name}"] for name in names})
