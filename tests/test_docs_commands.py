"""The commands of the documentation, run as they stand there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from handviz.__main__ import main
from handviz.core.paths import PROJECT_ROOT

BLOCK = re.compile(r"^```sh tested\n(.*?)^```", re.DOTALL | re.MULTILINE)
HANDVIZ = ["python", "-m", "handviz"]
TOOL = ["python", "-m"]
TOOLS = "tools."
PAGES = [path for path in sorted((PROJECT_ROOT / "docs").rglob("*.md")) if BLOCK.search(path.read_text("utf-8"))]


def commands(page: Path) -> list[list[str]]:
    """Return every command of a page's tested blocks, in order; a backslash joins lines."""
    text = "".join(BLOCK.findall(page.read_text("utf-8"))).replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in text.splitlines() if shlex.split(line, comments=True)]


def status(words: list[str]) -> int:
    """Run one command in the working folder; tools in a process of their own, found beside the package."""
    if words[:3] == HANDVIZ:
        return main(words[3:])
    assert words[:2] == TOOL
    assert words[2].startswith(TOOLS), f"{words[2]} is no command of handviz and no tool"
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT)}
    return subprocess.run([sys.executable, *words[1:]], env=environment, check=False).returncode


def test_there_are_such_pages() -> None:
    assert {"datasets.md", "reproduction.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_the_page_works(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in commands(page):
        assert status(words) == 0, " ".join(words)
