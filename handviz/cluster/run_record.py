"""What a run is: its pictures, options, networks and program, written beside its results so that no other mixes in."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from handviz import __version__
from handviz.cluster.listing import Listed
from handviz.core.errors import HandvizError
from handviz.core.files import write_whole
from handviz.core.paths import LANDMARKER_FILE, TEXTURE_NAME, variant_file
from handviz.core.records import VARIANTS
from handviz.hand_models.choice import hand_model_for
from handviz.pipeline.image_request import PictureOrder

RECORD_NAME = "run.json"
FORMAT = 1
LARGEST_RECORD_BYTES = 10_000_000


@dataclass(frozen=True)
class Run:
    """A run as its workers get it; it goes through pickle to other machines, where all paths have to be the same."""

    source: Path
    """A folder, or a text file that lists pictures."""
    out: Path
    order: PictureOrder
    shard_size: int = 500
    threads: int = 1
    """Of each worker's networks."""
    only_read: bool = False
    """Find no hands: only tell which pictures cannot be read, and what reading costs."""

    @property
    def root(self) -> Path:
        """What the listed paths are relative to."""
        return self.source if self.source.is_dir() else self.source.parent


def identity(run: Run) -> dict[str, Any]:
    """Everything that decides what the results are; HandvizError if a network is missing."""
    options = {name: value for name, value in asdict(run.order).items() if name not in ("model_dir", "hand_model")}
    template = hand_model_for(run.order.hand_model, run.order.model_dir)
    return {
        "format": FORMAT,
        "handviz": __version__,
        "source": str(run.source),
        "shard_size": run.shard_size,
        "threads": run.threads,
        "only_read": run.only_read,
        "options": json.loads(json.dumps(options, default=str)),
        "hand_model": template.fingerprint,
        "sha256": {path.name: _sha256(path) for path in model_files(run.order)},
    }


def model_files(order: PictureOrder) -> list[Path]:
    """The files of networks that an order uses."""
    variants = VARIANTS if order.compare else (order.variant,)
    texture = [order.model_dir / TEXTURE_NAME] if order.colour == "texture" else []
    return [LANDMARKER_FILE, *(variant_file(variant, order.model_dir) for variant in variants), *texture]


def write_record(run: Run, listed: Listed) -> None:
    """Write it as the last of a run's preparations: a folder that has it has its listing too."""
    entry = {**identity(run), "pictures": listed.pictures, "shards": listed.shards, "remarks": list(listed.remarks)}
    write_whole({run.out / RECORD_NAME: (json.dumps(entry, indent=1) + "\n").encode("utf-8")})


def known_listing(run: Run) -> Listed | None:
    """The listing of a run that was begun; None if none was. HandvizError if it was one with other options."""
    path = run.out / RECORD_NAME
    try:
        with path.open("rb") as file:
            entry = json.loads(file.read(LARGEST_RECORD_BYTES))
        listed = Listed(int(entry["pictures"]), int(entry["shards"]), tuple(map(str, entry["remarks"])))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise HandvizError(f"{path} is damaged ({error}); begin anew in another folder") from error
    different = _differences(entry, identity(run))
    if different:
        raise HandvizError(
            f"{run.out} holds a run with other options: {different[0]}; repeat them, or choose another --out"
        )
    return listed


def _differences(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> list[str]:
    """A few words on every value that is not the same."""
    different = []
    for name, value in here.items():
        known = there.get(name)
        if isinstance(value, dict) and isinstance(known, dict):
            different += _differences(known, value, f"{prefix}{name}: ")
            different += [f"{prefix}{name}: {other} is not used here" for other in sorted(known.keys() - value.keys())]
        elif known != value:
            different.append(f"{prefix}{name} is {known} there and {value} here")
    return different


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise HandvizError(f"the network {path} cannot be read: {error.strerror}") from error
