"""Hands of several views as each of the views sees them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from handviz.core.multiview import CalibratedView, MultiViewHand, rigid_inverse
from handviz.core.records import NEAREST_M, FloatArray, FrameResult, HandMesh
from handviz.sources.rig_moments import Moment


def seen_from(hand: HandMesh, from_camera: CalibratedView, to_camera: CalibratedView) -> HandMesh:
    """Return a hand of one camera's frame in that of another camera."""
    relative = to_camera.camera_from_world @ rigid_inverse(from_camera.camera_from_world)
    turn = relative[:3, :3]
    position = hand.position_uncertainty
    return replace(
        hand,
        vertices_m=hand.vertices_m @ turn.T,
        keypoints_m=hand.keypoints_m @ turn.T,
        camera_from_wrist=turn @ hand.camera_from_wrist,
        wrist_camera_m=turn @ hand.wrist_camera_m + relative[:3, 3],
        intrinsics=to_camera.intrinsics,
        keypoint_covariance_mm2=_turned(hand.keypoint_covariance_mm2, turn),
        vertex_covariance_mm2=_turned(hand.vertex_covariance_mm2, turn),
        shape=None if hand.shape is None else hand.shape.turned(turn),
        position_uncertainty=None
        if position is None
        else replace(position, fit_covariance_m2=turn @ position.fit_covariance_m2 @ turn.T),
        heatmaps=None,
        steps=(),
    )


def _turned(covariances: FloatArray | None, rotation: FloatArray) -> FloatArray | None:
    return None if covariances is None else np.asarray(rotation @ covariances @ rotation.T)


def results_of_views(moment: Moment, hands: Sequence[MultiViewHand]) -> dict[str, FrameResult]:
    """Return what each view of a moment shows, by its name: all hands in its camera, those too that it did not see."""
    cameras = {view.name: view.camera for view in moment.views}
    results = {}
    for view in moment.views:
        seen = [seen_from(hand.hand, cameras[hand.views[0]], view.camera) for hand in hands]
        in_front = [(mesh, hand) for mesh, hand in zip(seen, hands, strict=True) if _is_in_front(mesh)]
        detections = [replace(hand.detection, keypoints_px=mesh.keypoints_px, crop=None) for mesh, hand in in_front]
        model = hands[0].hand.model if hands else ""
        results[view.name] = FrameResult(view.frame, model, tuple(detections), tuple(mesh for mesh, _ in in_front))
    return results


def _is_in_front(hand: HandMesh) -> bool:
    return float((hand.vertices_m + hand.wrist_camera_m)[:, 2].min()) > NEAREST_M
