"""Reconstructed hands as MANO's 48 + 10: of a network of that hand model by its vertices, of any other by keypoints."""

from handviz.core.records import FloatArray, Handedness, HandMesh
from handviz.hand_models.mano_conventions import as_parameters
from handviz.hand_models.mano_fit import ManoFit, fit_keypoints, fit_vertices
from handviz.hand_models.template import HandTemplate
from handviz.io.mano_file import ManoRecord


def mano_of_hand(hand: HandMesh, template: HandTemplate, *, source: str, number: int) -> ManoRecord:
    """The MANO hand nearest to a reconstructed one, in the camera's frame."""
    if hand.hand_model == template.fingerprint:
        return mano_of_vertices(hand.vertices_m + hand.wrist_camera_m, hand.handedness, template, source, number)
    return mano_of_keypoints(hand.keypoints_m + hand.wrist_camera_m, hand.handedness, template, source, number)


def mano_of_vertices(
    vertices_m: FloatArray, handedness: Handedness, template: HandTemplate, source: str, number: int
) -> ManoRecord:
    """Vertices (V, 3) of MANO's topology in the camera's frame."""
    return _record(fit_vertices(vertices_m, handedness, template), template, source, number, "vertices")


def mano_of_keypoints(
    keypoints_m: FloatArray, handedness: Handedness, template: HandTemplate, source: str, number: int
) -> ManoRecord:
    """Keypoints (21, 3) in the camera's frame."""
    return _record(fit_keypoints(keypoints_m, handedness, template), template, source, number, "keypoints")


def _record(fit: ManoFit, template: HandTemplate, source: str, number: int, fitted_to: str) -> ManoRecord:
    parameters = as_parameters(fit.hand, template, "absolute")
    return ManoRecord(source, number, parameters, fit.mean_error_mm, fit.largest_error_mm, fitted_to)
