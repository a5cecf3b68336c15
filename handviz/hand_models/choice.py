"""Which hand model a network, a hand or a recording speaks of: the embedded open hand, or a MANO file of the user's."""

import argparse
import mmap
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import MANO_FOLDER, MODELS, variant_file
from handviz.core.records import VARIANTS
from handviz.hand_models.mano.model import load_mano
from handviz.hand_models.open_hand import DisplayMesh, load_display_mesh, load_open_hand
from handviz.hand_models.template import HandTemplate

OPTION = "--hand-model FILE"
NAMED_IN_ONNX = re.compile(rb"handviz\.fingerprint\x12\x40([0-9a-f]{64})")
"""Key and value as protobuf writes them, in a file whose network need not be loaded for that."""
_KNOWN: dict[str, HandTemplate] = {}
"""Every hand model of this process by its fingerprint: whoever has a hand or a network finds its model again."""


def add_hand_model_option(parser: argparse.ArgumentParser) -> None:
    """``--hand-model FILE``, the same everywhere; ``arguments.hand_model`` is a path or None."""
    parser.add_argument(
        "--hand-model",
        type=Path,
        metavar="FILE",
        help="your own MANO_RIGHT.pkl instead of the hand that handviz ships; files in models/mano are found without",
    )


def hand_model(path: Path | None) -> HandTemplate:
    """The open hand, or the right hand of a user's MANO file; HandvizError says what is wrong with the file."""
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
    """The model of that fingerprint (empty: the open hand): one that this process uses, or one in ``models/mano``."""
    if not fingerprint or fingerprint == load_open_hand().fingerprint:
        return load_open_hand()
    if fingerprint not in _KNOWN:
        for path in sorted(MANO_FOLDER.glob("*.pkl")):
            try:
                hand_model(path)
            except HandvizError:  # a left hand, or something else of the user's
                continue
    return _KNOWN.get(fingerprint)


def found_mano() -> HandTemplate | None:
    """The first right hand among the user's files in ``models/mano``; None if there is none."""
    for path in sorted(MANO_FOLDER.glob("*.pkl")):
        try:
            return hand_model(path)
        except HandvizError:  # a left hand, or something else of the user's
            continue
    return None


def hand_model_named(fingerprint: str, name: str = "mano") -> HandTemplate:
    """``known_hand_model``; HandvizError says which file to give."""
    template = known_hand_model(fingerprint)
    if template is None:
        raise HandvizError(
            f"the hand model {name} {fingerprint[:12]} is not here; {which_file(name)}", ErrorCode.MODEL_MISSING
        )
    return template


def hand_model_or_named(path: Path | None, fingerprint: str) -> HandTemplate:
    """The given file's; without one that of the fingerprint, if it is here; else the open hand, so that whoever checks
    the fingerprint says what is wanted."""
    return hand_model(path) if path is not None else known_hand_model(fingerprint) or load_open_hand()


def hand_model_for(path: Path | None, model_dir: Path) -> HandTemplate:
    """``hand_model_or_named`` with what the folder's networks name."""
    files = (variant_file(variant, model_dir) for variant in VARIANTS)
    named = "" if model_dir == MODELS else next((named_in(file) for file in files if file.is_file()), "")
    return hand_model_or_named(path, named)


def named_in(onnx_file: Path) -> str:
    """Fingerprint of the hand model that an ONNX file of handviz was made for; empty where it names none."""
    try:
        with onnx_file.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = NAMED_IN_ONNX.search(content)
            return found[1].decode() if found else ""
    except (OSError, ValueError):  # missing or empty: whoever loads it says so
        return ""


def which_file(name: str) -> str:
    """What to do for a network of that hand model."""
    if name == "open_hand":
        return f"that hand handviz ships: leave {OPTION} out (where it is out, the file is of another version)"
    return f"give the MANO_RIGHT.pkl that it was trained with by {OPTION}, or put it into models/mano"


def display_mesh(template: HandTemplate) -> DisplayMesh:
    """What is drawn: the open hand's dense mesh; of any other model its own vertices."""
    if template.name == "open_hand":
        return load_display_mesh()
    ids = np.arange(template.vertex_count, dtype=np.int32)[:, None]
    return DisplayMesh(template.faces, ids, np.ones(ids.shape, np.float32), template.uv)
