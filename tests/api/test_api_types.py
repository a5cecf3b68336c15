"""``py.typed`` proven: mypy --strict on a stranger's code, which finds handviz as an installed package."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from handviz.core.paths import PROJECT_ROOT

RIGHT_USE = """
from typing import Literal, assert_type

import numpy as np
from numpy.typing import NDArray

import handviz

with handviz.load("final", device="cpu", intrinsics=(500, 500, 320, 240), max_hands=2, side="left") as model:
    reveal_type(model)  # handviz.api.Model
    reveal_type(model(np.zeros((480, 640, 3), np.uint8)))  # list[handviz.api.Hand]
    for hand in model("a.jpg"):
        assert_type(hand.vertices_m, NDArray[np.float64])
        assert_type(hand.faces, NDArray[np.int32])
        assert_type(hand.handedness, Literal["left", "right"])
        reveal_type(hand.save("hand.glb", colour="plain"))  # pathlib.Path
    for frame in model.track([np.zeros((480, 640, 3), np.uint8)], smoothing=0.5):
        reveal_type(frame)  # handviz.api.TrackedFrame
tracked = handviz.track("clip.mp4", "prior", intrinsics=np.eye(3), side="right")
reveal_type(tracked)  # Generator[handviz.api.TrackedFrame, None, None]
tracked.close()
reveal_type(handviz.reconstruct("a.jpg", max_hands=1, detector="mediapipe"))  # list[handviz.api.Hand]
reveal_type(handviz.list_models())  # tuple[handviz.models.base.ModelSpec, ...]
models = [handviz.load(spec) for spec in handviz.list_models()]
try:
    handviz.load("hamer")
except handviz.HandvizError as error:
    reveal_type(error.code)  # handviz.core.errors.ErrorCode
"""
WRONG_USE = """
from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import handviz

floats = np.zeros((480, 640, 3), np.float32)
model = handviz.load("final")
handviz.lod("final")  # attr-defined
handviz.load("final", device="gpu")  # arg-type
handviz.load("final", max_hand=2)  # call-arg
handviz.track("clip.mp4", sides="left")  # call-arg
handviz.reconstruct("a.jpg", side="both")  # arg-type
model(floats)  # arg-type
model(3)  # arg-type
model("a.jpg")[0].vertices  # attr-defined
model("a.jpg")[0].score = 1.0  # misc
assert_type(model("a.jpg")[0].faces, NDArray[np.int64])  # assert-type
model("a.jpg")[0].save("hand.glb", colour="texture")  # arg-type
"""


def checked(folder: Path, package_path: Path) -> list[str]:
    """Return what mypy --strict says of the files of a folder."""
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folder / "cache"), "--config-file="]
    files = sorted(path.name for path in folder.glob("*.py"))
    done = subprocess.run(
        [*command, *files],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(package_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_types_reach_a_stranger_and_wrong_uses_are_errors(tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(RIGHT_USE.lstrip())
    (tmp_path / "wrong.py").write_text(WRONG_USE.lstrip())
    said = checked(tmp_path, PROJECT_ROOT)
    expected = dict(re.findall(r"^(right\.py:\d+)=.*# (.+)$", _numbered("right.py", RIGHT_USE), re.MULTILINE))
    revealed = dict(re.findall(r'^(right\.py:\d+): note: Revealed type is "(.+)"$', "\n".join(said), re.MULTILINE))
    assert {line: _short(kind) for line, kind in revealed.items()} == expected
    assert not [line for line in said if line.startswith("right.py") and ": error:" in line], said
    codes = dict(re.findall(r"^(wrong\.py:\d+)=.*# (.+)$", _numbered("wrong.py", WRONG_USE), re.MULTILINE))
    found = dict(re.findall(r"^(wrong\.py:\d+): error: .*\[(.+)\]$", "\n".join(said), re.MULTILINE))
    assert found == codes


def _numbered(file: str, text: str) -> str:
    return "\n".join(f"{file}:{number}={line}" for number, line in enumerate(text.lstrip().splitlines(), 1))


def _short(kind: str) -> str:
    return kind.replace("builtins.", "").replace("typing.", "").replace("collections.abc.", "")
