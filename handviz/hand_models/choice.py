"""Finding the hand model of a network, a hand or a recording: the open hand, or the user's MANO file."""

import mmap
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import MANO_FOLDER, MODELS
from handviz.hand_models.mano.model import load_mano
from handviz.hand_models.open_hand import DisplayMesh, load_display_mesh, load_open_hand
from handviz.hand_models.template import HandTemplate

OPTION = "--hand-model FILE"
NAMED_IN_ONNX = re.compile(rb"handviz\.fingerprint\x12\x40([0-9a-f]{64})")
"""Key and value as protobuf writes them, so that the network need not be loaded."""
_KNOWN: dict[str, HandTemplate] = {}
"""Every hand model of this process by its fingerprint."""


def hand_model(path: Path | None) -> HandTemplate:
    """Load the open hand, or the right hand of a user's MANO file; HandvizError if the file is unusable."""
    if path is None:
        return load_open_hand()
    try:
        stamp = path.stat()
    except OSError as error:
        raise HandvizError(
            f"{path} cannot be read ({error.strerror}): {OPTION} takes your MANO_RIGHT.pkl", ErrorCode.FILE_UNREADABLE
        ) from error
    return _mano(path.resolve(), stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=4)
def _mano(path: Path, _modified_ns: int, _size: int) -> HandTemplate:
    template = load_mano(path, side="right")
    _KNOWN[template.fingerprint] = template
    return template


def known_hand_model(fingerprint: str) -> HandTemplate | None:
    """Return the model of that fingerprint (empty: the open hand), loaded before or from ``MANO_FOLDER``; else None."""
    if not fingerprint or fingerprint == load_open_hand().fingerprint:
        return load_open_hand()
    if fingerprint not in _KNOWN:
        for path in sorted(MANO_FOLDER.glob("*.pkl")):
            try:
                hand_model(path)
            except HandvizError:  # a left hand, or another file
                continue
    return _KNOWN.get(fingerprint)


def found_mano() -> HandTemplate | None:
    """Return the first right hand among the user's files in ``MANO_FOLDER``; None if there is none."""
    for path in sorted(MANO_FOLDER.glob("*.pkl")):
        try:
            return hand_model(path)
        except HandvizError:  # a left hand, or another file
            continue
    return None


def hand_model_named(fingerprint: str, name: str = "mano") -> HandTemplate:
    """Return ``known_hand_model``; HandvizError names the file to give."""
    template = known_hand_model(fingerprint)
    if template is None:
        raise HandvizError(
            f"the hand model {name} {fingerprint[:12]} is missing; {which_file(name)}", ErrorCode.MODEL_MISSING
        )
    return template


def hand_model_or_named(path: Path | None, fingerprint: str) -> HandTemplate:
    """Load the given file, else the fingerprint's model, else the open hand, whose fingerprint then does not match."""
    return hand_model(path) if path is not None else known_hand_model(fingerprint) or load_open_hand()


def hand_model_of_file(path: Path | None, fingerprint: str) -> HandTemplate:
    """Return the fingerprint's model, which may be the given file's; else the given one, which does not match then."""
    given = None if path is None else hand_model(path)
    if given is not None and given.fingerprint == fingerprint:
        return given
    return known_hand_model(fingerprint) or given or load_open_hand()


def hand_model_for(path: Path | None, model_dir: Path) -> HandTemplate:
    """Return ``hand_model_or_named`` with the fingerprint that the folder's networks name."""
    files = sorted(model_dir.glob("*.onnx"))
    named = "" if model_dir == MODELS else next((named_in(file) for file in files if file.is_file()), "")
    return hand_model_or_named(path, named)


def named_in(onnx_file: Path) -> str:
    """Return the fingerprint of the hand model of a handviz ONNX file; empty if it names none."""
    try:
        with onnx_file.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = NAMED_IN_ONNX.search(content)
            return found[1].decode() if found else ""
    except (OSError, ValueError):  # missing or empty: loading it reports that
        return ""


def which_file(name: str) -> str:
    """Return the remedy for a network of that hand model."""
    if name == "open_hand":
        return f"handviz ships that hand: leave {OPTION} out (without it, the file is of another version)"
    return f"give the MANO_RIGHT.pkl that it was trained with by {OPTION}, or put it into {MANO_FOLDER}"


class DisplayMeshes:
    """The meshes to draw, by fingerprint of their hand model; each is looked up once."""

    def __init__(self, *templates: HandTemplate) -> None:
        """Begin with hand models that are loaded; HandvizError if the open hand's mesh is missing or damaged."""
        self._meshes: dict[str, DisplayMesh | None] = {one.fingerprint: display_mesh(one) for one in templates}

    def get(self, hand_model: str, /) -> DisplayMesh | None:
        """Return the mesh of a ``HandMesh.hand_model``; None if that hand model is not known."""
        if hand_model not in self._meshes:
            template = known_hand_model(hand_model)
            self._meshes[hand_model] = None if template is None else display_mesh(template)
        return self._meshes[hand_model]


def display_mesh(template: HandTemplate) -> DisplayMesh:
    """Return the mesh to draw: the open hand's dense mesh, or another model's own vertices."""
    if template.name == "open_hand":
        return load_display_mesh()
    ids = np.arange(template.vertex_count, dtype=np.int32)[:, None]
    return DisplayMesh(template.faces, ids, np.ones(ids.shape, np.float32), template.uv)
