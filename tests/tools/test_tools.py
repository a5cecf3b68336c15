"""``python -m tools.NAME``: every tool runs, explains itself, and turns errors into a line and an exit status."""

import importlib
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

import tools
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import PROJECT_ROOT


def python(*words: str) -> subprocess.CompletedProcess[str]:
    """Run an interpreter from the clone's folder."""
    return subprocess.run([sys.executable, *words], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)


def test_every_module_that_can_be_run_is_a_tool_and_says_its_own_name() -> None:
    runnable = {
        path.stem: path.read_text(encoding="utf-8")
        for path in tools.FOLDER.glob("[!_]*.py")
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    }
    assert set(tools.overview()) == set(runnable)
    for name, text in runnable.items():
        assert text.endswith(f'    sys.exit(tools.run("{name}"))\n')


@pytest.mark.parametrize("name", tools.overview())
def test_every_tool_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        tools.run(name, ["--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: python -m tools.{name}")
    assert tools.overview()[name] in " ".join(said.split())


def test_the_list_has_a_line_a_tool_and_loads_none_of_them() -> None:
    code = "import runpy, sys; runpy.run_module('tools', run_name='__main__'); sys.exit('numpy' in sys.modules)"
    outcome = python("-c", code)
    assert outcome.returncode == 0
    assert [line.split()[2].removeprefix("tools.") for line in outcome.stdout.splitlines()] == list(tools.overview())
    assert all(len(line.split()) > 4 for line in outcome.stdout.splitlines())


@dataclass
class NoArguments:
    """Of a tool that takes none."""


def test_an_error_is_one_line_and_status_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(_: object) -> int:
        raise HandvizError("the clip is empty", ErrorCode.OPTION_CONFLICT)

    fake = SimpleNamespace(__doc__="Fail.", Arguments=NoArguments, run=run)
    monkeypatch.setattr(importlib, "import_module", lambda _: fake)
    assert tools.run("any", []) == 1
    assert capsys.readouterr().err == "python -m tools.any: the clip is empty\n"


def test_a_process_has_the_tool_s_status() -> None:
    outcome = python("-m", "tools.build", "nothing")
    assert outcome.returncode == 2
    assert outcome.stderr.startswith("python -m tools.build: ")
