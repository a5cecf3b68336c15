"""README: its order and length, its six lines of Python, its links."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from handviz.__main__ import COMMANDS
from handviz.core.paths import PROJECT_ROOT
from tests.api.images import clip_frame

README = (PROJECT_ROOT / "README.md").read_text("utf-8")
MAX_WORDS = 700
CODE = re.compile(r"^```(\w*)\n(.*?)^```\n", re.DOTALL | re.MULTILINE)


def prose(text: str) -> str:
    """Return the text without code, tables and images; of links only what one reads."""
    text = CODE.sub("", text)
    text = "\n".join(line for line in text.splitlines() if not line.startswith("|"))
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", re.sub(r"!\[[^]]*\]\([^)]*\)", "", text))


def test_the_prose_is_short() -> None:
    assert len(prose("a [b c](d)\n| e |\n```\nf\n```\n![g](h)\n").split()) == 3
    assert len(prose(README).split()) < MAX_WORDS


def test_it_begins_with_an_image_installation_python_the_program_and_the_comparison() -> None:
    marks = ["![", "pip install .", "import handviz", "bootstrap.py run", "bootstrap.py test"]
    marks += ["| [HaMeR]", "handviz reconstruct INPUT"]
    places = [README.index(mark) for mark in marks]
    assert places == sorted(places)
    assert README.splitlines()[2].startswith("![")


@pytest.mark.slow
def test_the_six_lines_of_python_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (lines,) = (code for language, code in CODE.findall(README) if language == "python")
    assert len([line for line in lines.splitlines() if line]) <= 6
    monkeypatch.chdir(tmp_path)
    Image.fromarray(clip_frame()).save("hand.jpg", quality=95)
    exec(lines, {})
    assert capsys.readouterr().out.startswith("right [")
    mesh = trimesh.load(tmp_path / "right.glb", force="mesh")
    assert len(mesh.vertices) == 1609
    assert 0.1 < np.ptp(mesh.vertices, axis=0).max() < 0.3


def test_every_file_that_it_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README)
    local = [link for link in links if "://" not in link]
    assert local
    assert [link for link in local if not (PROJECT_ROOT / link).exists()] == []


def test_every_command_that_it_names_exists() -> None:
    lines = [line for language, code in CODE.findall(README) if not language for line in code.splitlines()]
    quoted = re.findall(r"`([^`]+)`", CODE.sub("", README))
    words = [shlex.split(text, comments=True) for text in (*lines, *quoted) if re.match(r"handviz \w", text)]
    assert {"reconstruct", "doctor"} <= {line[1] for line in words}
    assert {line[1] for line in words} <= {*COMMANDS, "COMMAND"}
