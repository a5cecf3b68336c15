"""A few rendered hands as a download of HO-3D version 2 or 3: folders, pickles, OpenGL's axes, MANO's joint order.

Not written, for nobody reads them here: depth, segmentations, object models, calibration.
"""

import json
import pickle
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import axis_angle_from_rotation, rotation_from_axis_angle
from handviz.core.records import FloatArray
from tests.fake_datasets.hands import TinyHand, tiny_hands
from tests.fake_datasets.stand_in_mano import right_arrays

SIZE = (640, 480)
SUFFIXES = {"ho3d_v2": ".png", "ho3d_v3": ".jpg"}
SEQUENCES = {"train": ("ABF10", "MC2"), "evaluation": ("AP10", "SM1")}
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]
FIRST_NUMBER, STEP = 7, 3
OPENGL = np.array([1.0, -1.0, -1.0])
TIPS = (744, 333, 444, 555, 672)
WITHOUT_ANNOTATION = "0000"
"""An image in each sequence that its list does not name and whose annotation holds None, as in the download."""


def write(name: str, root: Path, count: int, seed: int = 0) -> None:
    """Write both splits with ``count`` images each, in two sequences; existing files of these names are overwritten."""
    if name not in SUFFIXES:
        raise HandvizError(f"{name} is no version of HO-3D; there are {', '.join(SUFFIXES)}.", ErrorCode.UNKNOWN_NAME)
    root.mkdir(parents=True, exist_ok=True)
    for number, split in enumerate(SEQUENCES):
        hands = tiny_hands(count, seed=seed + number, size=SIZE)
        listed, joints, vertices = [], [], []
        for line, hand in zip(_lines(split, count), hands, strict=True):
            _write_hand(name, root / split, line, hand, whole=split == "train")
            listed.append(line)
            joints.append(joints_of(hand).tolist())
            vertices.append((hand.vertices_m * OPENGL).tolist())
        (root / f"{split}.txt").write_text("".join(f"{line}\n" for line in listed), encoding="ascii")
        for sequence in {line.split("/")[0] for line in listed}:
            _write_unannotated(name, root / split / sequence)
        if split == "evaluation":
            (root / "evaluation_xyz.json").write_text(json.dumps(joints), encoding="ascii")
            (root / "evaluation_verts.json").write_text(json.dumps(vertices), encoding="ascii")


def _lines(split: str, count: int) -> Iterator[str]:
    """Yield SEQUENCE/NUMBER; the first half is in the first sequence."""
    sequences = SEQUENCES[split]
    bounds = np.linspace(0, count, len(sequences) + 1).round().astype(int)
    for sequence, (start, end) in zip(sequences, pairwise(bounds), strict=True):
        for number in range(end - start):
            yield f"{sequence}/{FIRST_NUMBER + STEP * number:04d}"


def joints_of(hand: TinyHand) -> FloatArray:
    """Return (21, 3) in OpenGL's axes: MANO's 16 joints in its order, then the tips from thumb to little finger."""
    return np.concatenate([hand.joints_m, hand.vertices_m[list(TIPS)]]) * OPENGL


def _write_hand(name: str, split: Path, line: str, hand: TinyHand, *, whole: bool) -> None:
    sequence, number = line.split("/")
    _write_image(split / sequence / "rgb" / (number + SUFFIXES[name]), hand.image)
    matrix = hand.intrinsics.matrix
    matrix[:2, 2] -= 0.5
    meta: dict[str, Any] = _object() | {"camMat": matrix}
    if whole:
        meta |= _parameters(hand) | {"handJoints3D": joints_of(hand), "camIDList": ["0", "1"]}
    else:
        corners = np.concatenate([hand.vertices_px.min(axis=0), hand.vertices_px.max(axis=0)])
        meta |= {"handJoints3D": joints_of(hand)[0], "handBoundingBox": [int(corner) for corner in corners]}
    _write_pickle(split / sequence / "meta" / f"{number}.pkl", meta)


def _parameters(hand: TinyHand) -> dict[str, Any]:
    """Return MANO's numbers for hands that are posed in OpenGL's axes, angles from the flat hand."""
    rotation = np.diag(OPENGL) @ rotation_from_axis_angle(hand.global_rotation)
    return {
        "handPose": np.concatenate([axis_angle_from_rotation(rotation), hand.pose]),
        "handBeta": np.asarray(hand.shape, np.float64),
        "handTrans": hand.wrist_m * OPENGL - rest_wrist(tuple(hand.shape)),
    }


def rest_wrist(shape: Sequence[float]) -> FloatArray:
    """Return MANO's own position (3,) of the wrist joint before any pose, which the layer adds to ``handTrans``."""
    file = _right_arrays()
    return np.asarray(file["J_regressor"].toarray()[0] @ (file["v_template"] + file["shapedirs"] @ np.array(shape)))


@lru_cache(maxsize=1)
def _right_arrays() -> dict[str, Any]:
    return right_arrays()


def _object() -> dict[str, Any]:
    corners = np.stack(np.meshgrid([-0.05, 0.05], [-0.03, 0.03], [-0.1, 0.1], indexing="ij"), -1).reshape(8, 3)
    return {
        "objTrans": np.array([0.0, 0.0, -0.6]),
        "objRot": np.zeros((3, 1)),
        "objCorners3D": corners + np.array([0.0, 0.0, -0.6]),
        "objCorners3DRest": corners,
        "objName": "021_bleach_cleanser",
        "objLabel": 12,
    }


def _write_unannotated(name: str, sequence: Path) -> None:
    _write_image(sequence / "rgb" / (WITHOUT_ANNOTATION + SUFFIXES[name]), np.full((*SIZE[::-1], 3), 90, np.uint8))
    keys = (*_object(), "handPose", "handBeta", "handTrans", "handJoints3D")
    _write_pickle(sequence / "meta" / f"{WITHOUT_ANNOTATION}.pkl", dict.fromkeys(keys) | {"camMat": np.eye(3)})


def _write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coded = cv2.imencode(path.suffix, image[..., ::-1], JPEG if path.suffix == ".jpg" else [])[1]
    path.write_bytes(coded.tobytes())


def _write_pickle(path: Path, meta: dict[str, Any]) -> None:
    """Write a pickle as Python 2 with the numpy of its day did."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(meta, protocol=2).replace(b"cnumpy._core.", b"cnumpy.core."))
