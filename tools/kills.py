"""Kill what writes files at random moments (SIGKILL), and check that all that it had told as done is readable.

Inspection, recording, saving of checkpoints and settings, rendering and the journals of sharded runs.
"""

import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated

import tools
from handviz.core.arguments import Count, Option, Seed
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import PROJECT_ROOT
from tools.fuzzing.kill_victims import RATE_HZ, SHARD_SIZE, VICTIMS

MAX_TOLD, MAX_DELAY_S = 60, 0.05
"""A victim is killed after it has told so many things at most, and so much later."""
LOST_S, RECORDED_TOLD = 2.0, 250
"""A recording's video may lack its last seconds; so much is recorded at least, that there is more."""
logger = logging.getLogger(__name__)


def check_inspect(folder: Path, told: int) -> int:
    """Return the number of stored images, each with its hands."""
    from handviz.inspection.store import InspectionStore
    from handviz.io.hand_pack import unpack_hands

    (path,) = (folder / "results").glob("*.sqlite")
    with InspectionStore(path) as store:
        found = store.known()
        for image in found:
            unpack_hands(store.packed(image.row.file) or b"")
    return len(found)


def check_record(folder: Path, told: int) -> int:
    """Return the number of recorded results; the video lacks two seconds at most."""
    from handviz.io.recording.recorded import read_entries, read_tracks
    from handviz.io.recording.video import RATE_HZ as VIDEO_RATE_HZ
    from handviz.sources.clips import ClipSource

    recording = folder / "recording"
    (track,) = read_tracks(recording)
    (video,) = recording.glob("*.mp4")
    source, frames = ClipSource(video), 0
    while source.read() is not None:
        frames += 1
    source.close()
    if frames < (told / RATE_HZ - LOST_S) * VIDEO_RATE_HZ:
        raise HandvizError(f"{frames} frames of {told / RATE_HZ:.1f} s can be read", ErrorCode.NO_RESULT)
    return min(len(track.times_s), sum(1 for _ in read_entries(recording)))


def check_checkpoint(folder: Path, told: int) -> int:
    """Return the number in the checkpoint, whose weights and state must be of the same one."""
    from safetensors.torch import load_file

    from handviz.training.checkpoint import load_resume_state, parsed_notes, read_metadata, recovered

    directory = recovered(folder / "last")
    seen = int(parsed_notes(directory, read_metadata(directory)["notes"])["samples_seen"])
    weights = load_file(directory / "model.safetensors")
    if load_resume_state(directory)["step"] != seen or weights["bias"][0] != seen:
        raise HandvizError(f"{directory} holds parts of two checkpoints", ErrorCode.FILES_DISAGREE)
    return seen


def check_settings(folder: Path, told: int) -> int:
    """Return the number in the settings."""
    from handviz.gui.session.settings import SettingsStore

    store = SettingsStore(folder)
    if store.notice:
        raise HandvizError(store.notice, ErrorCode.FILE_DAMAGED)
    return round(2 * store.load().draw.range_high_mm)


def check_synthesize(folder: Path, told: int) -> int:
    """Return the number of rendered hands."""
    from handviz.data.synthetic.dataset import read_shard, shard_numbers

    numbers = [path.name for path in sorted((folder / "hands").glob("shard_*_pictures.npz"))]
    shard_numbers(folder / "hands")
    return sum(
        len(read_shard(folder / "hands", number).images) for number in range(min(len(numbers), told // SHARD_SIZE))
    )


def check_shards(folder: Path, told: int) -> int:
    """Return the number of whole lines in the journal."""
    import json

    from handviz.cluster.shards import Shard

    lines = Shard(1, 1).path(folder / "out").read_bytes().split(b"\n")[:-1]
    return len([json.loads(line) for line in lines])


CHECKS: dict[str, Callable[[Path, int], int]] = {
    "inspect": check_inspect,
    "record": check_record,
    "checkpoint": check_checkpoint,
    "settings": check_settings,
    "synthesize": check_synthesize,
    "shards": check_shards,
}


def kill(victim: str, folder: Path, random: Random) -> int:
    """Let the victim work in the folder and kill it at a random moment; return the last number that it told."""
    least = RECORDED_TOLD if victim == "record" else 1
    until, delay_s = random.randint(least, least + MAX_TOLD), random.random() * MAX_DELAY_S
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-m", "tools.fuzzing.kill_victims", victim, str(folder)]
    with (folder / "stderr").open("w") as log, subprocess.Popen(
        command, cwd=PROJECT_ROOT, env=environment, stdout=subprocess.PIPE, stderr=log
    ) as process:  # fmt: skip
        assert process.stdout is not None
        lines = []
        try:
            for line in process.stdout:
                lines.append(line)
                if int(line) >= until:
                    break
            time.sleep(delay_s)
        finally:
            process.kill()
        lines += process.stdout.readlines()
    whole = [line for line in lines if line.endswith(b"\n")]
    if not whole:
        said = (folder / "stderr").read_text()[-2000:]
        raise HandvizError(f"{victim} did nothing before it was killed: {said}", ErrorCode.NO_RESULT)
    return int(whole[-1])


def lost(victim: str, random: Random) -> str:
    """Kill the victim once; return what of the things that it told is lost, empty if nothing is."""
    with tempfile.TemporaryDirectory(prefix="handviz-kills-") as folder:
        told = kill(victim, Path(folder), random)
        try:
            found = CHECKS[victim](Path(folder), told)
        except (HandvizError, OSError, ValueError) as error:
            return f"{victim}, killed after {told}: {error}"
        return "" if found >= told else f"{victim}, killed after {told}: only {found} are readable"


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """How often what is killed."""

    kills: Count = 100
    """Kills in all, of each kind in turn."""
    seed: Seed = 0
    victims: Annotated[tuple[str, ...], Option(metavar="A,B", read=lambda words: tuple(words[0].split(",")))] = tuple(
        VICTIMS
    )
    """Only these."""


def run(arguments: Arguments) -> int:
    """Kill, print for each kind how often something was lost, and return 1 if anything was."""
    unknown = sorted(set(arguments.victims) - set(VICTIMS))
    if unknown:
        raise HandvizError(f"there is no {unknown[0]}: choose from {', '.join(VICTIMS)}", ErrorCode.UNKNOWN_NAME)
    random, losses = Random(arguments.seed), dict.fromkeys(arguments.victims, 0)
    kills = dict.fromkeys(arguments.victims, 0)
    for number in range(arguments.kills):
        victim = arguments.victims[number % len(arguments.victims)]
        message = lost(victim, random)
        kills[victim] += 1
        losses[victim] += bool(message)
        if message:
            logger.error("%s", message)
    lines = [f"{victim:12}{kills[victim]:6d} kills{losses[victim]:6d} lost something" for victim in arguments.victims]
    total = f"{'all':12}{sum(kills.values()):6d} kills{sum(losses.values()):6d} lost something"
    sys.stdout.writelines(f"{line}\n" for line in (*lines, total))
    return int(any(losses.values()))


if __name__ == "__main__":
    sys.exit(tools.run("kills"))
