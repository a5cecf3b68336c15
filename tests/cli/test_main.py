"""``python -m handviz``: find the command, load nothing else, turn errors into one line and an exit status."""

import importlib
import signal
import subprocess
import sys
import types
from dataclasses import dataclass

import pytest

from handviz import __version__
from handviz.__main__ import COMMANDS, MOVED, SHELLS, main
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import PROJECT_ROOT


@dataclass(frozen=True)
class Numbered:
    """Arguments of a command."""

    number: int = 0
    """Its exit status."""


@pytest.fixture
def fake_command(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Replace every command's module; the test sets ``run``."""
    command = types.SimpleNamespace(Arguments=Numbered, run=lambda arguments: arguments.number)
    monkeypatch.setattr(importlib, "import_module", lambda name: command)
    return command


@pytest.mark.usefixtures("fake_command")
def test_arguments_reach_the_command_and_its_status_comes_back() -> None:
    assert main(["doctor", "--number", "3"]) == 3


def test_a_handviz_error_is_one_message(fake_command: types.SimpleNamespace, capsys: pytest.CaptureFixture) -> None:
    def run(arguments: Numbered) -> int:
        raise HandvizError("the clip is empty", ErrorCode.OPTION_CONFLICT)

    fake_command.run = run
    assert main(["reconstruct"]) == 1
    assert capsys.readouterr().err == "handviz reconstruct: the clip is empty\n"


def test_ctrl_c_is_no_traceback(fake_command: types.SimpleNamespace, capsys: pytest.CaptureFixture) -> None:
    def run(arguments: Numbered) -> int:
        raise KeyboardInterrupt

    fake_command.run = run
    assert main(["train"]) == 130
    assert "stopped" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without a signal")
def test_a_termination_is_no_traceback(fake_command: types.SimpleNamespace, capsys: pytest.CaptureFixture) -> None:
    def run(arguments: object) -> int:
        signal.raise_signal(signal.SIGTERM)
        return 0

    fake_command.run = run
    assert main(["inspect"]) == 143
    assert "stopped" in capsys.readouterr().err


@pytest.mark.parametrize("command", MOVED)
def test_a_command_that_moved_says_where_to(command: str, capsys: pytest.CaptureFixture) -> None:
    assert main([*command.split(), "--help"]) == 2
    assert capsys.readouterr().err == f"handviz {command} moved: {MOVED[command]}\n"
    program, _, name = MOVED[command].partition(" tools.")
    if name:
        assert (PROJECT_ROOT / "tools" / f"{name.split()[0]}.py").is_file()
    else:
        assert program.split()[1] in COMMANDS


@pytest.mark.parametrize("arguments", [[], ["no-such-command"]])
def test_a_wrong_command_lists_the_right_ones(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_and_explains_itself(name: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert COMMANDS[name] in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_shells_can_complete_every_command_and_its_options(shell: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--completion", shell])
    script = capsys.readouterr().out
    assert not stop.value.code
    assert [name for name in (*COMMANDS, "focal-px", "smoothing-kind", "held-out") if name not in script] == []
    assert "correct-pose" not in script, "fields that are no options"


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--completion", "tty"])
    assert stop.value.code == 2
    assert "--completion" in capsys.readouterr().err


def test_a_command_that_is_nearly_right_is_named(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["recontruct"])
    assert "did you mean reconstruct?" in capsys.readouterr().err


def test_the_overview_loads_no_heavy_library() -> None:
    script = "import sys; sys.argv = ['handviz', 'doctor', '--help']\nfrom handviz.__main__ import main\n"
    script += "try: main()\nexcept SystemExit: pass\nprint(sorted({'numpy', 'torch', 'cv2'} & set(sys.modules)))"
    outcome = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    )
    assert outcome.stdout.splitlines()[-1] == "[]"
