"""``hands.json``: the results of ``handviz reconstruct``, one object per image."""

import dataclasses
import hashlib
import itertools
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from handviz.core.files import write_files
from handviz.core.geometry import distance_from_detector
from handviz.core.multiview import MultiViewHand
from handviz.core.records import (
    CROP_SIZE,
    Detection,
    FloatArray,
    FrameResult,
    HandMesh,
    Intrinsics,
    ModelId,
    NetworkFile,
    NetworkRole,
)
from handviz.core.shape_posterior import ShapePosterior
from handviz.rendering.difference import meshes_correspond, vertex_distances_mm
from handviz.sources.rig_moments import Moment, MomentView

MAX_STEM_BYTES = 255 - len("_000000000_99_right.ply")
"""Of the names of an image's outputs: what most file systems allow, less the longest ending."""
STEM_DIGITS = 12


def image_entry(
    file: str,
    result: FrameResult,
    intrinsics: Intrinsics,
    meshes: Sequence[str | None],
    *,
    network_input_px: int = CROP_SIZE,
) -> dict[str, Any]:
    """Return the object of an image: its size, the side of the model's crops, the intrinsics in use, and its hands."""
    height, width = result.frame.image.shape[:2]
    found = zip(result.hands, result.detections, meshes, strict=True)
    hands = [hand_entry(hand, detection, mesh) for hand, detection, mesh in found]
    for hand, entry in zip(result.hands, hands, strict=True) if result.frame.time_ms is not None else ():
        entry["track_id"] = hand.track_id
    for index, entry in enumerate(hands if result.is_compared else []):
        entry["distances_mm"] = distances_entry(result, index)
    focal_of_longer_px = intrinsics.focals_px[int(height > width)]
    field_of_view_rad = 2 * math.atan(max(width, height) / 2 / focal_of_longer_px)
    return {
        "file": file,
        "width": width,
        "height": height,
        **({} if result.frame.time_ms is None else {"time_ms": round(result.frame.time_ms, 3)}),
        "variant": result.model,
        **networks_entry(result.networks),
        "network_input_px": network_input_px,
        "intrinsics": intrinsics_entry(intrinsics),
        "assumed_focal_px": round(intrinsics.focal_px, 3),
        "assumed_field_of_view_deg": round(math.degrees(field_of_view_rad), 3),
        **({"compare_errors": dict(result.other_errors)} if result.other_errors else {}),
        "hands": hands,
    }


def moment_entry(
    file: str, moment: Moment, hands: Sequence[MultiViewHand], meshes: Sequence[str | None], model: ModelId
) -> dict[str, Any]:
    """Return the object of a moment of a rig: its views with their cameras, and its hands with the views they are from.

    A hand's coordinates are in the frame and the image of the first of its ``views``. ``width`` and ``height`` are
    those of the moment's first view, 0 if there is none.
    """
    entries = []
    for hand, mesh in zip(hands, meshes, strict=True):
        entry = hand_entry(hand.hand, hand.detection, mesh)
        entry["views"] = list(hand.views)
        entry["left_out"] = [dataclasses.asdict(left) for left in hand.left_out]
        entries.append(entry)
    height, width = moment.views[0].frame.image.shape[:2] if moment.views else (0, 0)
    return {
        "file": file,
        "width": width,
        "height": height,
        "moment": moment.number,
        **({} if moment.time_ms is None else {"time_ms": round(moment.time_ms, 3)}),
        "variant": model,
        "views": [_view_entry(view) for view in moment.views],
        "left_out": [dataclasses.asdict(left) for left in moment.left_out],
        "hands": entries,
    }


def _view_entry(view: MomentView) -> dict[str, Any]:
    height, width = view.frame.image.shape[:2]
    return {
        "name": view.name,
        "file": view.file,
        "width": width,
        "height": height,
        "intrinsics": intrinsics_entry(view.camera.intrinsics),
        "camera_from_world": _rounded(view.camera.camera_from_world, 6),
    }


def networks_entry(networks: Mapping[NetworkRole, NetworkFile]) -> dict[str, dict[str, str]]:
    """Return file, sha256 and state of the network; those of detector and texture net unless they are shipped."""
    return {
        role: dataclasses.asdict(file)
        for role, file in networks.items()
        if role == "network" or file.state != "shipped"
    }


def unreadable_entry(file: str, reason: str) -> dict[str, Any]:
    """Return the object of an image that could not be read."""
    return {"file": file, "width": 0, "height": 0, "hands": [], "error": reason}


def hand_entry(hand: HandMesh, detection: Detection, mesh: str | None) -> dict[str, Any]:
    """Return the object of a hand; ``mesh`` is the file with its vertices, relative to ``hands.json``.

    ``hand_probability`` and ``contradiction`` are there only if the model predicts them.
    """
    return {
        "handedness": hand.handedness,
        "detection_score": round(hand.detection_score, 4),
        **({} if hand.hand_probability is None else {"hand_probability": round(hand.hand_probability, 4)}),
        "keypoints_camera_m": _rounded(hand.keypoints_m, 6),
        "keypoints_image_px": _rounded(hand.keypoints_px, 3),
        "keypoint_std_mm": None if hand.keypoint_std_mm is None else _rounded(hand.keypoint_std_mm, 4),
        "vertex_std_mm": _mean_and_max(hand.vertex_std_mm),
        "uncertainty": hand.uncertainty,
        **({} if hand.shape is None else {"contradiction": _contradiction(hand.shape)}),
        "wrist_camera_m": _rounded(hand.wrist_camera_m, 6),
        "wrist_std_m": None if hand.wrist_std_m is None else _rounded(hand.wrist_std_m, 6),
        "assumed_focal_px": round(hand.intrinsics.focal_px, 3),
        "distance_from_detector": round(distance_from_detector(hand, detection), 5),
        "mesh": mesh,
    }


def _contradiction(shape: ShapePosterior) -> dict[str, float | bool]:
    """Return how far the landmarks lie from what the network expects of them, and whether that is too far."""
    return {
        "squared_distance": round(shape.distance, 3),
        "expected": shape.count,
        "level": float(f"{shape.level:.3g}"),
        "flagged": shape.contradicts,
    }


def distances_entry(result: FrameResult, index: int) -> dict[str, dict[str, float] | None]:
    """Return vertex distances between every two models at one hand of a compared result (rendering/difference.py).

    None for two models of different meshes, and where one of them failed.
    """
    hands = {model: of for model in result.compared if (of := result.of_model(model).hands)}
    return {
        f"{first}_{second}": _distances(hands[first][index], hands[second][index])
        if first in hands and second in hands
        else None
        for first, second in itertools.combinations(result.compared, 2)
    }


def _distances(first: HandMesh, second: HandMesh) -> dict[str, float] | None:
    if not meshes_correspond(first, second):
        return None
    as_drawn, aligned = (vertex_distances_mm(first, second, aligned=aligned) for aligned in (False, True))
    return {
        "mean": round(float(as_drawn.mean()), 4),
        "max": round(float(as_drawn.max()), 4),
        "aligned_mean": round(float(aligned.mean()), 4),
        "aligned_max": round(float(aligned.max()), 4),
    }


def intrinsics_entry(intrinsics: Intrinsics) -> dict[str, Any]:
    """Return K in pixels (the centre of the first pixel is (0.5, 0.5)) and its origin."""
    (fx, fy), (cx, cy) = intrinsics.focals_px, intrinsics.centre_px
    return {
        "fx": round(float(fx), 3),
        "fy": round(float(fy), 3),
        "cx": round(float(cx), 3),
        "cy": round(float(cy), 3),
        "origin": intrinsics.origin,
        "focal_std_share": round(intrinsics.focal_std_fraction, 5),
    }


def write_report(path: Path, entries: Sequence[dict[str, Any]]) -> None:
    """Write the list atomically; raises HandvizError if the folder cannot be written."""
    write_files({path: (json.dumps(entries, indent=1, allow_nan=False) + "\n").encode("utf-8")})


def output_stems(files: Sequence[str]) -> dict[str, str]:
    """Name each image's outputs: the file name without suffix, unless another image differs only in the suffix."""
    namesakes = Counter(Path(file).stem.casefold() for file in files)
    return {
        file: fitting_stem(
            Path(file).stem if namesakes[Path(file).stem.casefold()] == 1 else file.replace(".", "_"), file
        )
        for file in files
    }


def fitting_stem(stem: str, file: str) -> str:
    """Return a stem as it is, or cut and with a hash of the file's name where outputs' names would be too long."""
    encoded = os.fsencode(stem)
    if len(encoded) <= MAX_STEM_BYTES:
        return stem
    digest = hashlib.sha256(os.fsencode(file)).hexdigest()[:STEM_DIGITS]
    # Cut between characters, not within the bytes of one.
    return f"{encoded[: MAX_STEM_BYTES - STEM_DIGITS - 1].decode('utf-8', 'ignore')}_{digest}"


def _mean_and_max(values: FloatArray | None) -> dict[str, float] | None:
    if values is None:
        return None
    return {"mean": round(float(values.mean()), 4), "max": round(float(values.max()), 4)}


def _rounded(values: FloatArray, digits: int) -> list[Any]:
    rounded: list[Any] = np.round(np.asarray(values, dtype=np.float64), digits).tolist()
    return rounded
