"""``handviz mano``: convert MANO parameters between conventions, and hands, meshes and recordings to MANO."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tqdm import tqdm

from handviz.core.arguments import HandModelFile, Option, Positional
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import write_files
from handviz.core.json_files import BYTE_ORDER_MARK, MAX_LISTING_BYTES, Numbers, Rows, read_json
from handviz.core.output import print_result
from handviz.core.paths import MANO_FOLDER
from handviz.core.records import KEYPOINT_COUNT, FloatArray, Handedness
from handviz.hand_models.choice import OPTION, found_mano, hand_model
from handviz.hand_models.mano.conventions import mano_vertices
from handviz.hand_models.template import HandTemplate
from handviz.io.mano import (
    ManoRecord,
    PoseForm,
    fit_message,
    mano_of_keypoints,
    mano_of_vertices,
    read_mano,
    write_mano,
)
from handviz.io.mesh_io import faces_for, read_ply
from handviz.io.recording.recorded import read_tracks
from handviz.io.recording.recording import ABOUT


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Input and outputs.

    docs/research/mano.md describes the conventions and who uses them.
    """

    input: Positional[Path]
    """A file of 'reconstruct --save-mano', a hands.json, or a folder that app.py recorded."""
    to: PoseForm | None = None
    """Convention to write; without it the file's own, else absolute."""
    out: Annotated[Path | None, Option(metavar="FILE")] = None
    """.json or .npz to write."""
    vertices: Annotated[Path | None, Option(metavar="FILE")] = None
    """.npy to write: (hands, 778, 3) in camera axes."""
    hand_model: HandModelFile = None


def run(arguments: Arguments) -> int:
    """Read, convert or fit, and write."""
    if arguments.out is None and arguments.vertices is None:
        raise HandvizError(
            "no output is named: add --out FILE.json, --out FILE.npz or --vertices FILE.npy", ErrorCode.OPTION_CONFLICT
        )
    template = hand_model(arguments.hand_model) if arguments.hand_model else found_mano()
    if template is None:
        raise HandvizError(
            f"this needs your MANO_RIGHT.pkl: give it by {OPTION}, or put it into {MANO_FOLDER}", ErrorCode.FILE_MISSING
        )
    records, form = _read(arguments.input, template)
    if arguments.out is not None:
        write_mano(arguments.out, records, template, arguments.to or form)
        print_result("%s, %s", fit_message(records, arguments.out), arguments.to or form)
    if arguments.vertices is not None:
        _write_vertices(arguments.vertices, records, template)
    return 0


def _read(path: Path, template: HandTemplate) -> tuple[list[ManoRecord], Any]:
    if (path / ABOUT).is_file():
        return list(tqdm(_of_recording(path, template), unit="hand")), "absolute"
    if _is_listing(path):
        return list(tqdm(_of_listing(path, template), unit="hand")), "absolute"
    return read_mano(path, template)


@dataclass(frozen=True, eq=False)
class _Hand:
    """What is read of a hand of ``hands.json``."""

    handedness: Handedness
    wrist_camera_m: Annotated[FloatArray, Numbers(3)]
    keypoints_camera_m: Annotated[FloatArray, Numbers(KEYPOINT_COUNT, 3)]
    mesh: str | None = None


@dataclass(frozen=True)
class _Image:
    """What is read of an image of ``hands.json``."""

    file: str
    hands: Rows[_Hand]


def _is_listing(path: Path) -> bool:
    """Return whether a file is a JSON list, as ``hands.json`` is and a file of MANO parameters is not."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip(BYTE_ORDER_MARK + b" \t\r\n").startswith(b"[")
    except OSError as error:
        raise HandvizError(f"{path} cannot be read ({error}): make it readable", ErrorCode.FILE_UNREADABLE) from error


def _of_listing(path: Path, template: HandTemplate) -> Iterator[ManoRecord]:
    """Yield MANO parameters of every hand, from its mesh if that is MANO's, else from its keypoints."""
    for image in read_json(path, list[_Image], "make it by 'handviz reconstruct'", max_bytes=MAX_LISTING_BYTES):
        for number, hand in enumerate(image.hands):
            side, wrist_m = hand.handedness, hand.wrist_camera_m
            vertices = _mesh(_mesh_path(path, hand.mesh), side, template) if hand.mesh else None
            if vertices is not None:
                yield mano_of_vertices(vertices + wrist_m, side, template, image.file, number)
            else:
                yield mano_of_keypoints(hand.keypoints_camera_m + wrist_m, side, template, image.file, number)


def _mesh_path(listing: Path, mesh: str) -> Path:
    """Return the path of a mesh that a list names; HandvizError if it lies outside of the list's folder."""
    folder = listing.parent.resolve()
    try:
        path = (folder / mesh).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a circle of links, a name that is none
        raise HandvizError(f"{listing}: {mesh[:80]!r} is no path of a mesh", ErrorCode.FILE_DAMAGED) from error
    if not path.is_relative_to(folder):
        raise HandvizError(
            f"{listing} names the mesh {mesh[:80]!r}, outside of its folder: those of "
            "'handviz reconstruct' lie below it",
            ErrorCode.UNSAFE_FILE,
        )
    return path


def _mesh(path: Path, side: Handedness, template: HandTemplate) -> np.ndarray | None:
    """Return (V, 3) of a PLY with the template's own triangles; None for any other mesh."""
    if path.suffix.lower() != ".ply" or not path.is_file():
        return None
    vertices, faces = read_ply(path)
    return vertices if np.array_equal(faces, faces_for(side, template.faces)) else None


def _of_recording(path: Path, template: HandTemplate) -> Iterator[ManoRecord]:
    for track in read_tracks(path):
        side = track.handedness
        for timed_result, wrist_m in enumerate(track.wrists_m):
            if track.hand_model == template.fingerprint and track.vertices_m.shape[1]:
                yield mano_of_vertices(
                    track.vertices_m[timed_result] + wrist_m, side, template, track.name, timed_result
                )
            else:
                yield mano_of_keypoints(
                    track.keypoints_m[timed_result] + wrist_m, side, template, track.name, timed_result
                )


def _write_vertices(path: Path, records: list[ManoRecord], template: HandTemplate) -> None:
    vertices = [mano_vertices(record.parameters, template) for record in records]
    stream = io.BytesIO()
    np.save(stream, np.array(vertices, np.float32).reshape(-1, template.vertex_count, 3))
    write_files({path: stream.getvalue()})
    print_result("%s: vertices of %d hands", path, len(records))
