"""The process that reads damaged files: one line of JSON in, one out; what it writes elsewhere goes to stderr.

It is a process of its own, because a reader may end it, or never end.
"""

import contextlib
import json
import logging
import os
import sys
import tempfile
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from handviz.core.errors import HandvizError
from handviz.core.process import BYTES_PER_MEGABYTE, peak_megabytes
from tools.fuzzing.door import Door, WrongAnswerError
from tools.fuzzing.doors import door_named
from tools.fuzzing.mutations import damaged

MAX_EXTRA_MB = 1000.0
"""Above what the door's whole files take."""
MAX_ADDRESSES_MB = 6000
"""Above what the process has reserved: a reader that asks for more gets MemoryError, and the machine stays usable."""
RESET_PEAK, CLEAR_REFS = "5", Path("/proc/self/clear_refs")


@dataclass
class Seeds:
    """The whole files of a door, and what reading them takes."""

    folder: Path
    contents: dict[str, bytes] = field(default_factory=dict)
    baseline_mb: float = 0.0


def case(door: Door, contents: dict[str, bytes], seed: int, number: int) -> tuple[str, bytes]:
    """Return name and damaged content of a file: the same for the same seed, door and number."""
    random = Random(f"{seed} {door.name} {number}")
    names = sorted(name for name in contents if Path(name).match(door.damaged))
    name = random.choice(names)
    suffix = Path(name).suffix
    others = [contents[other] for other in names if door.splices_all or Path(other).suffix == suffix]
    return name, damaged(contents[name], others, random)


class Reader:
    """The doors that this process has opened so far."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._seeds = folder, dict[str, Seeds]()

    def verdict(self, name: str, seed: int, number: int, save_to: str) -> dict[str, Any]:
        """Read one damaged file; it lies at ``save_to`` as long as it is read, and afterwards if it failed."""
        door = door_named(name)
        seeds = self._seeds.get(name) or self._opened(door)
        file, content = case(door, seeds.contents, seed, number)
        saved = Path(save_to) / f"{name}-{seed}-{number}-{file.replace('/', '_')}"
        saved.write_bytes(content)
        found = self._read(door, seeds, file, content)
        if found["verdict"] in ("refused", "fine"):
            saved.unlink()
        return found | {"file": str(saved)}

    def _opened(self, door: Door) -> Seeds:
        folder = self._folder / door.name
        folder.mkdir(exist_ok=True)
        door.build(folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        seeds = Seeds(folder, {path.relative_to(folder).as_posix(): path.read_bytes() for path in files})
        _reset_peak()
        names = [name for name in seeds.contents if Path(name).match(door.damaged)]
        # Files that belong together are read together.
        for name in names[:1] if door.is_folder else names:
            found = self._read(door, seeds, name, seeds.contents[name])
            if found["verdict"] not in ("fine", door.whole):
                raise RuntimeError(f"the whole file {name} of the door {door.name} is {found}")
        seeds.baseline_mb = _peak_mb()
        self._seeds[door.name] = seeds
        return seeds

    def _read(self, door: Door, seeds: Seeds, name: str, content: bytes) -> dict[str, Any]:
        _reset_peak()
        with _damaged_file(door, seeds, name, content) as path:
            found = _outcome(door, path)
        extra_mb = _peak_mb() - seeds.baseline_mb
        if seeds.baseline_mb and extra_mb > MAX_EXTRA_MB and found["verdict"] in ("refused", "fine"):
            return {"verdict": "memory", "text": f"{extra_mb:.0f} MB above the door's whole files, {found['text']}"}
        return found


@contextlib.contextmanager
def _damaged_file(door: Door, seeds: Seeds, name: str, content: bytes) -> Any:
    """Yield what the door reads: a file alone in a new folder, or its folder, in which this file is another."""
    if door.is_folder:
        path = seeds.folder / name
        path.write_bytes(content)
        try:
            yield seeds.folder
        finally:
            path.write_bytes(seeds.contents[name])
        return
    with tempfile.TemporaryDirectory(dir=seeds.folder.parent, ignore_cleanup_errors=True) as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        yield path


def _outcome(door: Door, path: Path) -> dict[str, Any]:
    try:
        door.read(path)
    except HandvizError as error:
        if len(str(error)) > MAX_MESSAGE + 2 * len(str(path)):
            return {"verdict": "wrong", "text": f"a message of {len(str(error))} characters: {str(error)[:200]}"}
        return {"verdict": "refused", "text": error.code}
    except WrongAnswerError as error:
        return {"verdict": "wrong", "text": str(error)}
    except BaseException:  # noqa: BLE001 whatever it is, it is what is looked for
        return {"verdict": "crashed", "text": traceback.format_exc()[-4000:]}
    return {"verdict": "fine", "text": ""}


MAX_MESSAGE = 1500
"""Characters of a message beside the file's name: more is the damaged content repeated."""


def _reset_peak() -> None:
    with contextlib.suppress(OSError):
        CLEAR_REFS.write_text(RESET_PEAK)


def _peak_mb() -> float:
    """Return the peak since it was last reset, where the system can reset it; else of the process."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024
    return peak_megabytes()


def _limit_addresses() -> None:
    if sys.platform.startswith("linux"):
        import resource

        import psutil

        reserved = psutil.Process().memory_info().vms
        limit = reserved + MAX_ADDRESSES_MB * BYTES_PER_MEGABYTE
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main() -> None:
    """Answer every request until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    logging.disable()
    _limit_addresses()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["HANDVIZ_DATASET_CACHE"] = f"{folder}/dataset-cache"
        os.environ["HANDVIZ_CONFIG_DIR"] = f"{folder}/config"
        reader = Reader(Path(folder))
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = reader.verdict(**request)
            except Exception:  # noqa: BLE001 a door that cannot be opened is told as such
                answer = {"verdict": "no door", "text": traceback.format_exc()[-4000:], "file": ""}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
