"""MANO parameters (48 + 10) of reconstructed hands, and their files (docs/research/mano.md).

MANO is fitted to the vertices of networks of that hand model, and to the keypoints of any other. Files are JSON or NPZ
with the same names, the convention written in the file.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import make_folder, read_arrays, write_files
from handviz.core.json_files import MAX_LISTING_BYTES, Numbers, Rows, check_value, parse_json, read_json
from handviz.core.records import FloatArray, Handedness, HandMesh
from handviz.hand_models.mano.conventions import (
    FINGER_JOINTS,
    JOINT_NAMES,
    as_parameters,
    converted,
    file_wrist_m,
    matrices,
    parameters_from_matrices,
    rotations_from_six,
    six_numbers,
)
from handviz.hand_models.mano.fit import ManoFit, fit_keypoints, fit_vertices
from handviz.hand_models.mano.parameters import ManoParameters, PoseKind, template_of
from handviz.hand_models.template import POSE_SIZE, SHAPE_SIZE, HandTemplate

PoseForm = Literal["absolute", "relative", "components", "matrices", "six_d"]
FORMS: tuple[PoseForm, ...] = get_args(PoseForm)
FORMAT = 1
SUFFIXES = (".json", ".npz")
MESSAGES: dict[str, str] = {
    "absolute": "axis-angle of each joint from the flat hand: flat_hand_mean=True, use_pca=False",
    "relative": "axis-angle of each joint, the file's hands_mean to be added: flat_hand_mean=False, use_pca=False",
    "components": "coefficients of the file's hands_components, its hands_mean to be added: flat_hand_mean=False, "
    "use_pca=True, num_pca_comps=45",
    "matrices": "a rotation matrix for each joint, from the flat hand: rows of the matrix are the inner lists",
    "six_d": "of each joint's rotation matrix, from the flat hand, the first column and then the second",
}
COLUMNS = ("source", "number", "side", "global_orient", "hand_pose", "betas", "transl")
REMEDY = "make it with 'python -m handviz reconstruct --save-mano FILE'"


@dataclass(frozen=True, eq=False)
class ManoRecord:
    """One hand of an image."""

    source: str
    """File name of the image, as in ``hands.json``."""
    number: int
    """Index among the hands of the image."""
    parameters: ManoParameters
    mean_error_mm: float = float("nan")
    """Distance from the points of the fit; nan if nothing was fitted."""
    largest_error_mm: float = float("nan")
    fitted_to: str = ""
    """vertices or keypoints; empty if nothing was fitted"""


def write_mano(path: Path, records: Sequence[ManoRecord], template: HandTemplate, form: PoseForm) -> None:
    """Write the hands atomically; raises HandvizError at another suffix, or if the file cannot be written."""
    check_mano_path(path)
    rows = [_row(record, template, form) for record in records]
    about = _about(template, form)
    make_folder(path.parent)
    if path.suffix.lower() == ".json":
        hands = [{name: _plain(value) for name, value in row.items()} for row in rows]
        content = json.dumps({"about": about, "hands": hands}, indent=1, allow_nan=False) + "\n"
        write_files({path: content.encode("utf-8")})
    else:
        write_files({path: _npz_bytes(rows, about)})


def check_mano_path(path: Path) -> None:
    """Raise HandvizError at a suffix that is not supported."""
    if path.suffix.lower() not in SUFFIXES:
        raise HandvizError(
            f"{path.name}: MANO parameters are written as {' or '.join(SUFFIXES)}", ErrorCode.UNSUPPORTED_FORMAT
        )


def fit_message(records: Sequence[ManoRecord], path: Path) -> str:
    """Summarize the fits: number of hands, kind of points, and errors."""
    fitted = [record for record in records if record.fitted_to]
    if not fitted:
        return f"{path}: {len(records)} hands"
    mean, largest = np.mean([one.mean_error_mm for one in fitted]), max(one.largest_error_mm for one in fitted)
    kinds = " and ".join(sorted({one.fitted_to for one in fitted}))
    note = "; keypoints do not determine the hand's thickness" if "keypoints" in kinds else ""
    return f"{path}: {len(records)} hands, fitted to {kinds}, error mean {mean:.3f} mm, max {largest:.3f} mm{note}"


@dataclass(frozen=True)
class _About:
    """What is read of a file's header."""

    handviz_mano: Literal[1]
    """FORMAT"""
    convention: PoseForm
    hand_model_fingerprint: str = ""


@dataclass(frozen=True, eq=False)
class _Row:
    """What is read of a hand, under the names of ``_row``."""

    source: str
    number: int
    side: Handedness
    global_orient: Any
    hand_pose: Any
    betas: Annotated[FloatArray, Numbers(SHAPE_SIZE)]
    transl: Annotated[FloatArray, Numbers(3)]
    published_left: bool = False
    mean_error_mm: float | None = None
    largest_error_mm: float | None = None
    fitted_to: str = ""


@dataclass(frozen=True, eq=False)
class _File:
    about: _About
    hands: Rows[_Row]


def read_mano(path: Path, template: HandTemplate) -> tuple[list[ManoRecord], PoseForm]:
    """Read the hands of a file of ``write_mano`` and its pose form; raises HandvizError if it is not usable."""
    is_npz = path.suffix.lower() == ".npz"
    file = _read_npz(path) if is_npz else read_json(path, _File, REMEDY, max_bytes=MAX_LISTING_BYTES)
    form, named = file.about.convention, file.about.hand_model_fingerprint
    if form in ("relative", "components") and named != template.fingerprint:
        raise HandvizError(
            f"{path} is relative to the mean pose of the hand model {named[:12]}, not of {template.fingerprint[:12]}: "
            "select the one that it was written with by --hand-model FILE",
            ErrorCode.MODEL_MISMATCH,
        )
    try:
        return [_record(row, form) for row in file.hands], form
    except ValueError as error:
        raise HandvizError(f"{path} is damaged ({error}): {REMEDY}", ErrorCode.FILE_DAMAGED) from error


def _read_npz(path: Path) -> _File:
    """Read the columns of N hands and the header, JSON in a string."""
    columns = read_arrays(path, REMEDY)
    about = parse_json(str(columns.pop("about", "")), _About, str(path), REMEDY)
    try:
        values = [column.tolist() if column.ndim == 1 else column for column in columns.values()]
        rows = [dict(zip(columns, map(_plain, row), strict=True)) for row in zip(*values, strict=True)]
    except (TypeError, ValueError) as error:
        raise HandvizError(f"{path} has columns of different lengths: {REMEDY}", ErrorCode.FILE_DAMAGED) from error
    return _File(about, check_value(rows, list[_Row], str(path), REMEDY))


def _about(template: HandTemplate, form: PoseForm) -> dict[str, Any]:
    return {
        "handviz_mano": FORMAT,
        "convention": form,
        "hand_pose": MESSAGES[form],
        "hand_model": template.name,
        "hand_model_fingerprint": template.fingerprint,
        "units": "metres, radians",
        "axes": "camera: x right, y down, z forward",
        "joints": list(JOINT_NAMES),
        "transl": "what MANO's layer adds at the end; the wrist joint lies at wrist = transl + J0(betas)",
        "published_left": "betas go with MANO_LEFT.pkl as published; else its shape directions are mirrored (smplx#48)",
    }


def _row(record: ManoRecord, template: HandTemplate, form: PoseForm) -> dict[str, Any]:
    parameters = record.parameters
    rotation, pose = _in_form(parameters, template, form)
    own = template_of(parameters, template)
    wrist_m = parameters.translation_m + file_wrist_m(parameters.shape, parameters.handedness, own)
    return {
        "source": record.source,
        "number": record.number,
        "side": parameters.handedness,
        "global_orient": rotation,
        "hand_pose": pose,
        "betas": np.asarray(parameters.shape, np.float64),
        "transl": np.asarray(parameters.translation_m, np.float64),
        "wrist": wrist_m,
        "published_left": parameters.shape_is_published_left,
        "mean_error_mm": float(record.mean_error_mm),
        "largest_error_mm": float(record.largest_error_mm),
        "fitted_to": record.fitted_to,
    }


def _in_form(parameters: ManoParameters, template: HandTemplate, form: PoseForm) -> tuple[FloatArray, FloatArray]:
    """Return the wrist's rotation and the fingers' pose, both as matrices in the form ``matrices``."""
    if form in ("matrices", "six_d"):
        rotations = matrices(parameters, template)
        rotations = six_numbers(rotations) if form == "six_d" else rotations
        return rotations[0], rotations[1:]
    found = converted(parameters, template, cast(PoseKind, form))
    return found.global_rotation, found.pose


def _record(row: _Row, form: PoseForm) -> ManoRecord:
    return ManoRecord(
        source=row.source,
        number=row.number,
        parameters=replace(_parameters(row, form), shape_is_published_left=row.published_left),
        mean_error_mm=float("nan") if row.mean_error_mm is None else row.mean_error_mm,
        largest_error_mm=float("nan") if row.largest_error_mm is None else row.largest_error_mm,
        fitted_to=row.fitted_to,
    )


def _parameters(row: _Row, form: PoseForm) -> ManoParameters:
    if form in ("matrices", "six_d"):
        inner = (3, 3) if form == "matrices" else (6,)
        rotations = np.concatenate(
            [Numbers(*inner).array(row.global_orient)[None], Numbers(FINGER_JOINTS, *inner).array(row.hand_pose)]
        )
        rotations = rotations_from_six(rotations) if form == "six_d" else rotations
        return parameters_from_matrices(rotations, row.betas, row.transl, row.side)
    pose, rotation = Numbers(POSE_SIZE).array(row.hand_pose), Numbers(3).array(row.global_orient)
    return ManoParameters(row.side, cast(PoseKind, form), pose, row.betas, rotation, row.transl)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _npz_bytes(rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> bytes:
    """Serialize columns of N hands; ``about`` is JSON in a string."""
    columns = {name: np.stack([np.asarray(row[name]) for row in rows]) for name in (rows[0] if rows else ())}
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, about=np.array(json.dumps(about)), **columns)
    return stream.getvalue()


def mano_of_hand(hand: HandMesh, template: HandTemplate, *, source: str, number: int) -> ManoRecord:
    """Fit MANO to a reconstructed hand, in the camera frame."""
    if hand.hand_model == template.fingerprint:
        return mano_of_vertices(hand.vertices_m + hand.wrist_camera_m, hand.handedness, template, source, number)
    return mano_of_keypoints(hand.keypoints_m + hand.wrist_camera_m, hand.handedness, template, source, number)


def mano_of_vertices(
    vertices_m: FloatArray, handedness: Handedness, template: HandTemplate, source: str, number: int
) -> ManoRecord:
    """Fit MANO to vertices (V, 3) of its topology in the camera frame."""
    return _fitted_record(fit_vertices(vertices_m, handedness, template), template, source, number, "vertices")


def mano_of_keypoints(
    keypoints_m: FloatArray, handedness: Handedness, template: HandTemplate, source: str, number: int
) -> ManoRecord:
    """Fit MANO to keypoints (21, 3) in the camera frame."""
    return _fitted_record(fit_keypoints(keypoints_m, handedness, template), template, source, number, "keypoints")


def _fitted_record(fit: ManoFit, template: HandTemplate, source: str, number: int, fitted_to: str) -> ManoRecord:
    parameters = as_parameters(fit.hand, template, "absolute")
    return ManoRecord(source, number, parameters, fit.mean_error_mm, fit.largest_error_mm, fitted_to)
