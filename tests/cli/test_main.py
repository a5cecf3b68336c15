"""``python -m handviz``: find the command, load nothing else, turn errors into one line and an exit status."""

import errno
import importlib
import os
import shlex
import signal
import subprocess
import sys
import types
from dataclasses import dataclass

import pytest

from handviz import __version__
from handviz.__main__ import COMMANDS, MOVED, READER_GONE_STATUS, SHELLS, main
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import PROJECT_ROOT
from tests.errors import wrong_usage


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


DISK = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR]


@pytest.mark.parametrize("number", DISK)
@pytest.mark.parametrize("path", ["out/hands.json", None])
def test_an_error_of_the_disk_that_nobody_handled_is_one_line(
    fake_command: types.SimpleNamespace, capsys: pytest.CaptureFixture, number: int, path: str | None
) -> None:
    def run(arguments: Numbered) -> int:
        raise OSError(number, os.strerror(number), path)

    fake_command.run = run
    assert main(["synthesize"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert (path or "a file") in said
    assert os.strerror(number) in said


def test_an_error_of_the_program_keeps_its_traceback(fake_command: types.SimpleNamespace) -> None:
    def run(arguments: Numbered) -> int:
        raise OSError(errno.EBADF, "Bad file descriptor")

    fake_command.run = run
    with pytest.raises(OSError, match="descriptor"):
        main(["synthesize"])


WITH_EMPTY = [["reconstruct", "", "--out", "o"], ["reconstruct", "a.png", "--out", ""], ["animate", "a", "--out="]]
WITH_EMPTY += [["mano", ""], ["inspect", ""], ["train", "--run", ""], ["evaluate", ""], ["doctor", "--root", ""]]


@pytest.mark.parametrize("words", WITH_EMPTY)
def test_empty_arguments_are_refused(words: list[str], capsys: pytest.CaptureFixture) -> None:
    with wrong_usage():
        main(words)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "empty" in said


@pytest.mark.parametrize(
    "words",
    [["synthesize", "--out", "o", "--count", "9" * 5000], ["reconstruct", "a", "--out", "o", "--every", "x" * 9999]],
)
def test_messages_do_not_repeat_thousands_of_characters(words: list[str], capsys: pytest.CaptureFixture) -> None:
    with wrong_usage():
        main(["synthesize", *words])
    assert len(capsys.readouterr().err) < 2000


def program(shell: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which HANDVIZ is the program."""
    words = f"{shlex.quote(sys.executable)} -m handviz"
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        ["bash", "-c", shell.replace("HANDVIZ", words)],
        cwd=PROJECT_ROOT, capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full and bash")
@pytest.mark.parametrize("words", ["tables --recipes", "--help", "tables --help"])
@pytest.mark.slow
def test_a_standard_output_that_is_full_or_closed(words: str) -> None:
    full = program(f"HANDVIZ {words} > /dev/full")
    assert (full.returncode, full.stderr.count("\n")) == (1, 1)
    assert os.strerror(errno.ENOSPC) in full.stderr
    closed = program(f"HANDVIZ {words} >&- <&-")
    assert (closed.returncode, closed.stdout + closed.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("words", [["tables", "--recipes"], ["--help"], ["tables", "--help"]])
def test_a_reader_that_has_gone_is_no_error(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "handviz", *words]
    run = subprocess.run(command, cwd=PROJECT_ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (run.returncode, run.stderr) == (READER_GONE_STATUS, "")


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
