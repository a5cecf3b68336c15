"""Times of the Python API in new processes: importing handviz, loading a model, the first image and later ones."""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from PIL import Image

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import CLIP_FILE
from handviz.sources.clips import ClipSource

STAGES = ("import handviz", 'handviz.load("final")', "first image", "load and first image", "later image")
RUNS, LATER_IMAGES = 7, 5
SCRIPT = """
import sys, time
begin = time.perf_counter()
import handviz
times = [time.perf_counter() - begin]
assert "numpy" not in sys.modules
image = sys.argv[1]
begin = time.perf_counter()
with handviz.load("final") as model:
    times.append(time.perf_counter() - begin)
    assert model(image)
    whole = time.perf_counter() - begin
    times += [whole - times[1], whole]
    begin = time.perf_counter()
    for _ in range(int(sys.argv[2])):
        model(image)
    times.append((time.perf_counter() - begin) / int(sys.argv[2]))
print(*times)
"""


def measure_api(report: Callable[[str], None], *, runs: int = RUNS) -> dict[str, float]:
    """Report and return the median seconds of every stage in ``runs`` new processes; HandvizError if one fails.

    One process more warms the disk and does not count.
    """
    with tempfile.TemporaryDirectory(prefix="handviz-api-") as folder, closing(ClipSource(CLIP_FILE)) as clip:
        frame = clip.read()
        assert frame is not None
        file = Path(folder, "image.png")
        Image.fromarray(frame.image).save(file)
        found = [_times(file) for _ in range(runs + 1)][1:]
    by_stage = dict(zip(STAGES, zip(*found, strict=True), strict=True))
    medians = {stage: statistics.median(times) for stage, times in by_stage.items()}
    report(f"median of {runs} processes with a warm disk, fastest and slowest, in seconds; a frame of {CLIP_FILE.name}")
    for stage, times in by_stage.items():
        report(f"  {stage:24} {medians[stage]:7.3f} {min(times):7.3f} {max(times):7.3f}")
    return medians


def _times(image_file: Path) -> tuple[float, ...]:
    command = [sys.executable, "-c", SCRIPT, str(image_file), str(LATER_IMAGES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HandvizError(f"the API failed in a new process: {done.stderr[-2000:]}", ErrorCode.NO_RESULT)
    return tuple(float(seconds) for seconds in done.stdout.split())
