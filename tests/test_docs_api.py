"""The documentation of the Python API: every public name has its place, and the first lines of the home page work."""

import re
from pathlib import Path

import cv2
import pytest

import handviz
from handviz.core.paths import CLIP_FILE, PROJECT_ROOT

DOCS = PROJECT_ROOT / "docs"


def test_every_public_name_is_on_the_page_of_the_api() -> None:
    documented = re.findall(r"^::: handviz\.(\w+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(documented) == sorted(set(handviz.__all__) - {"__version__"})


@pytest.mark.slow
def test_the_lines_of_the_home_page_give_a_hand_and_its_mesh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(
        r"^```python\n(.*?)^```", (DOCS / "index.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    clip = cv2.VideoCapture(str(CLIP_FILE))
    was_read, image = clip.read()
    clip.release()
    assert was_read
    assert cv2.imwrite(str(tmp_path / "hand.jpg"), image)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/index.md", "exec"), {})
    handedness, rest = capsys.readouterr().out.splitlines()[0].split(" ", 1)
    assert re.fullmatch(r"\(21, 3\) \d+\.\d mm", rest)
    assert (tmp_path / f"{handedness}.glb").read_bytes().startswith(b"glTF")
