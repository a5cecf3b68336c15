"""The commands of the documentation, run as they are printed."""

import re
import shlex
from pathlib import Path

import pytest

import tools
from handviz.__main__ import main
from handviz.core.paths import PROJECT_ROOT

BLOCK = re.compile(r"^```sh tested\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = [path for path in sorted((PROJECT_ROOT / "docs").rglob("*.md")) if BLOCK.search(path.read_text("utf-8"))]


def commands(page: Path) -> list[list[str]]:
    """Return every command of a page's tested blocks, in order; a backslash joins lines."""
    text = "".join(BLOCK.findall(page.read_text("utf-8"))).replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in text.splitlines() if shlex.split(line, comments=True)]


def test_there_are_such_pages() -> None:
    assert {"datasets.md", "reproduction.md"} <= {page.name for page in PAGES}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_the_page_works(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in commands(page):
        assert words[:2] == ["python", "-m"]
        assert run(words[2], words[3:]) == 0, " ".join(words)


def run(module: str, arguments: list[str]) -> int:
    """Run as ``python -m``, in this process."""
    if module == "handviz":
        return main(arguments)
    package, _, name = module.partition(".")
    assert package == "tools"
    return tools.run(name, arguments)
