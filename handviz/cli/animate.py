"""``handviz animate``: a recording -> animated GLB, BVH, CSV."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from handviz.core.arguments import HandModelFile, Option, Positional
from handviz.core.files import make_folder
from handviz.core.output import print_result
from handviz.hand_models.choice import hand_model
from handviz.io.recording.animate import KINDS, animate


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The recording and the files to write.

    Without a choice: GLB (metres) and BVH (centimetres); docs/guide/export.md describes both.
    """

    recording: Positional[Path]
    """Folder that app.py recorded."""
    glb: bool = False
    """One animated glTF file with every hand, skinned."""
    bvh: bool = False
    """A skeleton with its rotations, one file per hand."""
    csv: bool = False
    """The table of keypoints, anew from hands.jsonl."""
    hand_model: HandModelFile = None
    out: Annotated[Path | None, Option(metavar="FOLDER")] = None
    """Where to; without it the recording's own folder."""
    colour: Literal["plain", "uncertainty"] = "plain"
    """Of the GLB: skin, or the mean standard deviation."""


def run(arguments: Arguments) -> int:
    """Write the requested files."""
    hand_model(arguments.hand_model)  # known from now on, so that the recording finds it
    kinds = [kind for kind in KINDS if getattr(arguments, kind)] or ["glb", "bvh"]
    if arguments.out is not None:
        make_folder(arguments.out)
    for made in animate(arguments.recording, kinds, arguments.out, colour=arguments.colour):
        print_result("%s: %s", made.path, made.message)
    return 0
