"""Values of one vertex or joint of a hand, as numbers and text."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray, FrameResult, HandMesh, ModelId
from handviz.core.units import MILLIMETRES_PER_METRE
from handviz.core.visibility import self_visible
from handviz.hand_models.template import HandTemplate, joint_keypoints
from handviz.rendering.hand_shape import VertexNormals
from handviz.rendering.highlight import Pick

FINGERS = ("thumb", "index finger", "middle finger", "ring finger", "little finger")
THUMB_JOINTS, FINGER_JOINTS = ("CMC", "MCP", "IP", "tip"), ("MCP", "PIP", "DIP", "tip")
THUMB_PARTS = ("metacarpal", "proximal phalanx", "distal phalanx")
FINGER_PARTS = ("proximal phalanx", "middle phalanx", "distal phalanx")
HALF_SIDE_M = 0.1
"""About half a crop: the unit in which ``self_visible`` judges depth."""


@dataclass(frozen=True, eq=False)
class PointReading:
    """Millimetres, camera axes: x right, y down, z away."""

    name: str
    from_wrist_mm: FloatArray
    """(3,)"""
    in_camera_mm: FloatArray
    """(3,) metric if the camera's focal length is."""
    std_mm: float | None
    """Root of the summed variances; None if the model predicts no uncertainty."""
    axis_std_mm: FloatArray | None
    """(3,) along the camera's axes."""
    principal_std_mm: FloatArray | None
    """(3,) along the Gaussian's own axes, the largest first."""
    visible: float
    """0 to 1: the texture net's output, or, without texture, whether the hand does not occlude the point itself."""
    seen: float | None
    """0 to 1: how well it was observed in the frames so far; None without texture."""
    landmark_share: float | None = None
    """0 to 1: the fraction of the network's variance that MediaPipe's landmarks took away; None without a posterior."""


def read_point(hand: HandMesh, pick: Pick, template: HandTemplate | None) -> PointReading:
    """Return all values of a picked point; ``template`` None: of a hand model without names and surface."""
    if pick.vertex is not None:
        index, points_m, std_mm, covariances = (
            pick.vertex,
            hand.vertices_m,
            hand.vertex_std_mm,
            hand.vertex_covariance_mm2,
        )
    else:
        index, points_m = pick.joint or 0, hand.keypoints_m
        std_mm, covariances = hand.keypoint_std_mm, hand.keypoint_covariance_mm2
    covariance = None if covariances is None else covariances[index]
    return PointReading(
        name=point_name(pick, template),
        from_wrist_mm=points_m[index] * MILLIMETRES_PER_METRE,
        in_camera_mm=(points_m[index] + hand.wrist_camera_m) * MILLIMETRES_PER_METRE,
        std_mm=None if std_mm is None else float(std_mm[index]),
        axis_std_mm=None if covariance is None else np.sqrt(np.diag(covariance)),
        principal_std_mm=None if covariance is None else np.sqrt(np.linalg.eigvalsh(covariance)[::-1].clip(0)),
        visible=float(_around(pick, template, _visible(hand, template))),
        seen=None if hand.texture is None else float(_around(pick, template, hand.texture.seen)),
        landmark_share=_landmark_share(hand, pick),
    )


def _landmark_share(hand: HandMesh, pick: Pick) -> float | None:
    if hand.shape is None:
        return None
    if pick.vertex is None:
        return float(hand.shape.landmark_shares[pick.joint or 0])
    return hand.shape.landmark_share_of(pick.vertex)


def other_models(result: FrameResult, pick: Pick) -> dict[ModelId, tuple[float | None, float]]:
    """Return, where models are compared, the point's standard deviation by each other one, and its distance.

    Both in mm, the distance relative to the wrist; None if that model predicts no uncertainty.
    """
    own = _point_m(result.hands[pick.hand], pick)
    found: dict[ModelId, tuple[float | None, float]] = {}
    for model, hands in result.others.items():
        if pick.hand < len(hands) and hands[pick.hand].hand_model == result.hands[pick.hand].hand_model:
            hand = hands[pick.hand]
            std_mm = hand.keypoint_std_mm if pick.vertex is None else hand.vertex_std_mm
            index = pick.joint or 0 if pick.vertex is None else pick.vertex
            away_mm = float(np.linalg.norm(_point_m(hand, pick) - own)) * MILLIMETRES_PER_METRE
            found[model] = (None if std_mm is None else float(std_mm[index]), away_mm)
    return found


def _point_m(hand: HandMesh, pick: Pick) -> FloatArray:
    return hand.keypoints_m[pick.joint or 0] if pick.vertex is None else hand.vertices_m[pick.vertex]


def point_name(pick: Pick, template: HandTemplate | None) -> str:
    """Return the anatomical name: a joint, or the part of the finger and the side that a vertex lies on."""
    if pick.joint is not None:
        return joint_name(pick.joint)
    assert pick.vertex is not None
    return f"Vertex {pick.vertex}" if template is None else f"{_part_names(template)[pick.vertex]} ({pick.vertex})"


def joint_name(joint: int) -> str:
    """Return the name of one of the 21 keypoints."""
    if joint == 0:
        return "Wrist"
    finger, index_in_finger = divmod(joint - 1, 4)
    name = FINGERS[finger].removesuffix(" finger").capitalize()
    return f"{name} {(FINGER_JOINTS if finger else THUMB_JOINTS)[index_in_finger]}"


@cache
def _part_names(template: HandTemplate) -> tuple[str, ...]:
    """Return every vertex's part: the joint with the largest weight, and the side."""
    normals = VertexNormals(template.faces, template.vertex_count)(template.vertices_m)
    keypoints = np.array(joint_keypoints(template))[template.skinning_weights.argmax(axis=1)]
    wrist, index, little = (template.keypoint_regressor @ template.vertices_m)[[0, 5, 17]]
    towards_palm = normals @ np.cross(index - wrist, little - wrist)
    return tuple(_part_name(int(keypoint), bool(z > 0)) for keypoint, z in zip(keypoints, towards_palm, strict=True))


def _part_name(keypoint: int, is_palm_side: bool) -> str:
    if keypoint == 0:
        return "Palm" if is_palm_side else "Back of the hand"
    finger, index_in_finger = divmod(keypoint - 1, 4)
    part = (FINGER_PARTS if finger else THUMB_PARTS)[index_in_finger]
    return f"{FINGERS[finger]}, {part}, {'palm' if is_palm_side else 'back'} side".capitalize()


def _visible(hand: HandMesh, template: HandTemplate | None) -> FloatArray:
    """Return the visibility (V,), 0 to 1; 1 without texture and surface."""
    if hand.texture is not None:
        return hand.texture.visible
    if template is None:
        return np.ones(len(hand.vertices_m))
    return hand_self_visible(hand, template.faces).astype(np.float64)


def hand_self_visible(hand: HandMesh, faces: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which vertices (V,) of a hand, left or right, it does not occlude itself; by its weak perspective."""
    across_m = (hand.vertices_px - hand.keypoints_px[0]) / hand.pixels_per_m
    points = np.column_stack([across_m, hand.vertices_m[:, 2]]) / HALF_SIDE_M
    return self_visible(points, faces if hand.handedness == "right" else faces[:, ::-1])


def _around(pick: Pick, template: HandTemplate | None, values: FloatArray) -> float:
    """Return a value (V,) at a vertex, or its mean at a joint by the regressor's weights."""
    if pick.vertex is not None:
        return float(values[pick.vertex])
    if template is None:
        return float(values.mean())
    # Some regressors extrapolate: their negative weights count too.
    weights = np.abs(template.keypoint_regressor[pick.joint or 0])
    return float(weights @ values / weights.sum())
