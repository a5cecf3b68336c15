"""``handviz rig``: recordings of a checkerboard by several cameras -> RIG.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tqdm import tqdm

from handviz.core.arguments import Count, Option, some_words, whole
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import make_folder
from handviz.core.output import print_result
from handviz.core.units import MILLIMETRES_PER_METRE
from handviz.sources.checkerboard import Board
from handviz.sources.rig import write_rig
from handviz.sources.rig_boards import rig_from_boards
from handviz.sources.source import camera_number

NamedPaths = Annotated[tuple[str, ...], Option(metavar="NAME=PATH ...", read=some_words, words="+")]


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Recordings of one board by all cameras at the same times, and what the rig's views read afterwards."""

    boards: NamedPaths
    """Clip or folder of images of the board, of each camera."""
    out: Path
    """The rig's file; sources lie in its folder or below."""
    sources: Annotated[tuple[str, ...], Option(metavar="NAME=PATH ...", read=some_words, words="*")] = ()
    """What the views of the rig read: clips, folders, or camera:0 and so on; the recordings of the board without it."""
    cameras: Annotated[tuple[str, ...], Option(metavar="NAME=FILE ...", read=some_words, words="*")] = ()
    """Camera files of handviz, OpenCV or ROS; cameras without one are calibrated from their recordings."""
    columns: Annotated[int, whole(3, 50)] = 9
    """Inner corners of a row of the board."""
    rows: Annotated[int, whole(3, 50)] = 6
    """Rows of inner corners; one of both numbers is odd, the other one even."""
    square_mm: float = 25.0
    """Side of a square."""
    every: Count = 5
    """Every N-th moment of the recordings is searched for the board."""


def run(arguments: Arguments) -> int:
    """Calibrate the rig and write it; return 0."""
    boards = {name: Path(text).expanduser() for name, text in named(arguments.boards, "boards").items()}
    sources = named(arguments.sources, "sources") if arguments.sources else {n: str(p) for n, p in boards.items()}
    cameras = {name: Path(text).expanduser() for name, text in named(arguments.cameras, "cameras").items()}
    with tqdm(unit="moment", desc="searching the board") as bar:
        found = rig_from_boards(
            boards,
            {name: _source(text) for name, text in sources.items()},
            Board(arguments.columns, arguments.rows),
            arguments.square_mm / MILLIMETRES_PER_METRE,
            camera_files=cameras,
            every=arguments.every,
            progress=lambda number: bar.update(number - bar.n),
        )
    make_folder(arguments.out.parent)
    write_rig(arguments.out, found.rig)
    for name, rms_px in found.calibration.rms_px.items():
        own = f", by itself {found.intrinsics_rms_px[name]:.2f} px" if name in found.intrinsics_rms_px else ""
        print_result("camera %s: corners %.2f px off%s", name, rms_px, own)
    print_result("%d cameras, placed by %d poses of the board: %s", len(found.calibration.rms_px),
                 found.calibration.moments, arguments.out)  # fmt: skip
    return 0


def _source(text: str) -> Path | str:
    return text if camera_number(text) is not None else Path(text).expanduser()


def named(words: Sequence[str], option: str) -> Mapping[str, str]:
    """Return paths by the names before their "="; HandvizError for a word without one, and for a name given twice."""
    pairs = [word.partition("=") for word in words]
    wrong = [word for word, (name, equals, text) in zip(words, pairs, strict=True) if not (name and equals and text)]
    names = [name for name, _, _ in pairs]
    twice = [name for at, name in enumerate(names) if name in names[:at]]
    if wrong or twice:
        reason = f"{wrong[0]!r} is not NAME=PATH" if wrong else f"{twice[0]} is there twice"
        raise HandvizError(f"--{option}: {reason}", ErrorCode.BAD_VALUE)
    return {name: text for name, _, text in pairs}
