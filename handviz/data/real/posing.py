"""A dataset's MANO parameters against its own vertices: a wrong MANO file or convention shows in millimetres."""

import numpy as np

from handviz.data.real.annotated import AnnotatedHand, HandDataset
from handviz.geometry import rotation_from_axis_angle
from handviz.hand_model.mano_parameters import MIRROR, posed, template_pose
from handviz.hand_model.template import HandTemplate
from handviz.records import FloatArray

AGREEMENT_MM = 1.0
"""Lists are rounded, and MANO's file came in two versions: what is closer is the same hand."""
SAMPLED_HANDS = 32


def canonical_vertices_m(hand: AnnotatedHand, template: HandTemplate) -> FloatArray:
    """(778, 3) posed as the parameters say, of the hand's own side, turned to the camera, wrist joint at the origin."""
    if hand.mano is None:
        raise ValueError(f"{hand.name} has no MANO parameters")
    vertices_m = posed(template, template_pose(hand.mano, template)[None], hand.mano.shape[None])[0]
    own_side = vertices_m * MIRROR if hand.mano.handedness == "left" else vertices_m
    return np.asarray(own_side @ rotation_from_axis_angle(hand.mano.global_rotation).T)


def placed_vertices_m(hand: AnnotatedHand, template: HandTemplate) -> FloatArray:
    """(778, 3) in the camera's frame: the posed wrist joint lies on the annotated one."""
    if hand.keypoints_m is None:
        raise ValueError(f"{hand.name} has no joints in metres")
    return canonical_vertices_m(hand, template) + hand.keypoints_m[0]


def vertex_distances_mm(dataset: HandDataset, template: HandTemplate, count: int = SAMPLED_HANDS) -> FloatArray:
    """(hands,) mean distance of posed vertices from the dataset's own, of up to ``count`` hands with both."""
    distances = []
    for index in np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int)):
        hand = dataset.hand(int(index))
        if hand.mano is not None and hand.vertices_m is not None and hand.keypoints_m is not None:
            offsets = placed_vertices_m(hand, template) - hand.vertices_m
            distances.append(float(np.linalg.norm(offsets, axis=1).mean() * 1e3))
    return np.array(distances)


def mano_remark(dataset: HandDataset, template: HandTemplate) -> str:
    """A sentence on how well this hand model gives the dataset's vertices; empty where nothing can be compared."""
    distances_mm = vertex_distances_mm(dataset, template)
    if not len(distances_mm):
        return ""
    middle = float(np.median(distances_mm))
    said = f"MANO's parameters posed with this hand model lie {middle:.2f} mm from the dataset's vertices (median of "
    said += f"{len(distances_mm)} hands)"
    if middle <= AGREEMENT_MM:
        return f"{said}: file and convention are right."
    return f"{said}: the file is not the MANO of {dataset.name}, or was opened with another mean pose."
