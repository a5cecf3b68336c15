"""The starter: what it installs, when it installs nothing, what it starts, and which exit status comes back."""

import ast
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import bootstrap
from handviz import __version__
from handviz.core.paths import PROJECT_ROOT
from tests.environments import python_in, run_away, script_in, show_running_packages
from tests.waiting import LIMIT_S


class Calls:
    """A stand-in for ``bootstrap.call`` that records commands and returns 0 or ``answer``'s value."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.answer: Callable[[str], int] = lambda line: 0

    def __call__(self, *command: str | Path, quiet: bool = False) -> int:
        self.lines.append(" ".join(str(part) for part in command))
        return self.answer(self.lines[-1])


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calls:
    """Run no command, and put the environment into a temporary folder."""
    noted = Calls()
    monkeypatch.setattr(bootstrap, "call", noted)
    venv = tmp_path / ".venv"
    monkeypatch.setattr(bootstrap, "VENV", venv)
    monkeypatch.setattr(bootstrap, "STAMP", venv / "stamp")
    monkeypatch.setattr(bootstrap, "PROJECT_STAMP", venv / "project-stamp")
    monkeypatch.setattr(bootstrap, "UNFINISHED", venv / "installing")
    return noted


@pytest.fixture
def sound_venv(calls: Calls) -> Path:
    """Make an environment in which everything is installed."""
    python = bootstrap.venv_python()
    python.parent.mkdir(parents=True)
    python.touch()
    bootstrap.STAMP.write_text(bootstrap.requirements_digest())
    bootstrap.PROJECT_STAMP.write_text(bootstrap.project_digest())
    return bootstrap.VENV


def set_display(monkeypatch: pytest.MonkeyPatch, display: str | None) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", display)


def test_needs_the_standard_library_only() -> None:
    tree = ast.parse((PROJECT_ROOT / "bootstrap.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports}
    assert {str(name).partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_a_second_start_installs_nothing(calls: Calls, sound_venv: Path) -> None:
    assert bootstrap.prepare_venv() == 0
    assert not any("pip install" in line or "-m venv" in line for line in calls.lines)


def test_changed_requirements_are_installed_again(calls: Calls, sound_venv: Path) -> None:
    bootstrap.STAMP.write_text("of another file")
    assert bootstrap.prepare_venv() == 0
    assert "pip install" in calls.lines[-1]
    assert bootstrap.STAMP.read_text() == bootstrap.requirements_digest()
    assert not any("-m venv" in line for line in calls.lines)


def test_the_checks_need_ray_and_the_program_does_not(calls: Calls, sound_venv: Path) -> None:
    assert bootstrap.prepare_venv("test") == 0
    (installed,) = (line for line in calls.lines if "pip install" in line)
    assert installed.endswith("requirements-test.txt")
    assert "-r requirements.txt" in bootstrap.TEST_REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    calls.lines.clear()
    assert bootstrap.prepare_venv("run") == bootstrap.prepare_venv("test") == 0
    assert not any("pip install" in line for line in calls.lines)


@pytest.mark.parametrize("damage", ["no python", "no pip", "cut short"])
def test_a_broken_environment_is_made_anew(calls: Calls, sound_venv: Path, damage: str) -> None:
    if damage == "no python":
        bootstrap.venv_python().unlink()
    elif damage == "cut short":
        bootstrap.UNFINISHED.touch()

    def answer(line: str) -> int:
        if "-m venv --clear" in line:
            bootstrap.STAMP.unlink()
            bootstrap.PROJECT_STAMP.unlink()
        return int("import pip" in line and damage == "no pip")

    calls.answer = answer
    assert bootstrap.prepare_venv() == 0
    made, requirements, project = calls.lines[-3:]
    assert "-m venv --clear" in made
    assert requirements.endswith("requirements.txt")
    assert project.endswith(f"--editable {PROJECT_ROOT}")


@pytest.mark.parametrize("changed", ["pyproject.toml", "folder"])
def test_handviz_itself_is_installed_again_where_it_changed_or_moved(
    monkeypatch: pytest.MonkeyPatch, calls: Calls, sound_venv: Path, tmp_path: Path, changed: str
) -> None:
    if changed == "folder":
        monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    else:
        monkeypatch.setattr(bootstrap, "PROJECT", tmp_path / "pyproject.toml")
        bootstrap.PROJECT.write_text("[project]")
    assert bootstrap.prepare_venv() == bootstrap.prepare_venv() == 0
    (installed,) = (line for line in calls.lines if "pip install" in line)
    assert installed.endswith(f"--no-index --no-deps --no-build-isolation --editable {bootstrap.ROOT}")


def test_the_program_starts_though_handviz_itself_cannot_be_installed(
    calls: Calls, sound_venv: Path, capfd: pytest.CaptureFixture
) -> None:
    bootstrap.PROJECT_STAMP.unlink()
    calls.answer = lambda line: int("--editable" in line)
    assert bootstrap.prepare_venv() == 0
    assert not bootstrap.PROJECT_STAMP.exists()
    assert "in this folder only" in capfd.readouterr().out


def test_a_failed_install_is_tried_again_at_the_next_start(calls: Calls, sound_venv: Path) -> None:
    bootstrap.STAMP.write_text("of another file")
    calls.answer = lambda line: int("pip install" in line)
    assert bootstrap.prepare_venv() == 1
    assert not bootstrap.STAMP.exists()
    calls.answer = lambda line: 0
    assert bootstrap.prepare_venv() == 0
    assert bootstrap.STAMP.exists()


def test_an_install_that_is_killed_leaves_its_mark(calls: Calls, sound_venv: Path) -> None:
    bootstrap.STAMP.write_text("of another file")

    def killed(line: str) -> int:
        if "pip install" in line:
            raise KeyboardInterrupt
        return 0

    calls.answer = killed
    with pytest.raises(KeyboardInterrupt):
        bootstrap.prepare_venv()
    assert not bootstrap.venv_is_sound()


@pytest.mark.slow
def test_a_real_environment_is_made_and_found_sound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# nothing\n")
    venv = tmp_path / "environment"
    stamps = {"STAMP": "stamp", "PROJECT_STAMP": "project-stamp", "UNFINISHED": "installing"}
    for name, path in {"VENV": venv, **{name: venv / file for name, file in stamps.items()}}.items():
        monkeypatch.setattr(bootstrap, name, path)
    monkeypatch.setattr(bootstrap, "REQUIREMENTS", requirements)
    assert not bootstrap.venv_is_sound()
    assert bootstrap.prepare_venv() == 0
    assert bootstrap.venv_is_sound()
    assert bootstrap.STAMP.exists()
    # The build backend is a package of the real requirements.
    show_running_packages(venv)
    assert bootstrap.prepare_venv() == 0
    for command in ([script_in(venv, "handviz")], [python_in(venv), "-m", "handviz"]):
        away = run_away(tmp_path, *command, "--version")
        assert away.stdout.strip() == __version__, away.stderr
    where = run_away(tmp_path, python_in(venv), "-c", "import handviz; print(handviz.__file__)")
    assert Path(where.stdout.strip()).is_relative_to(PROJECT_ROOT)


def test_nothing_is_installed_where_nothing_lacks(monkeypatch: pytest.MonkeyPatch, calls: Calls) -> None:
    set_display(monkeypatch, ":0")
    monkeypatch.setattr(bootstrap, "can_load", lambda library: True)
    bootstrap.provide_system_libraries("test")
    assert calls.lines == []


@pytest.mark.parametrize(("user", "prefix"), [(0, "env"), (1000, "sudo -n env")])
def test_debian_gets_what_it_lacks(monkeypatch: pytest.MonkeyPatch, calls: Calls, user: int, prefix: str) -> None:
    set_display(monkeypatch, None)
    monkeypatch.setattr(bootstrap, "can_load", lambda library: library != "libxcb-cursor.so.0")
    monkeypatch.setattr("shutil.which", lambda tool: None if tool == "xvfb-run" else f"/usr/bin/{tool}")
    monkeypatch.setattr(os, "geteuid", lambda: user, raising=False)
    bootstrap.provide_system_libraries("test")
    update, install = calls.lines[-2:]
    assert update == f"{prefix} DEBIAN_FRONTEND=noninteractive apt-get update -q"
    assert install.startswith(f"{prefix} DEBIAN_FRONTEND=noninteractive apt-get install -y")
    assert install.endswith("libxcb-cursor0 xvfb")


def test_the_browser_of_the_tests_is_no_matter_of_the_program(monkeypatch: pytest.MonkeyPatch, calls: Calls) -> None:
    set_display(monkeypatch, ":0")
    monkeypatch.setattr(bootstrap, "can_load", lambda library: library != "libnss3.so")
    assert bootstrap.lacking_debian_packages("run") == []
    assert bootstrap.lacking_debian_packages("test") == ["libnss3"]


@pytest.mark.parametrize(("status_of_new_name", "name"), [(0, "libasound2t64"), (100, "libasound2")])
def test_a_package_that_was_renamed_is_called_as_it_is_here(
    monkeypatch: pytest.MonkeyPatch, calls: Calls, status_of_new_name: int, name: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    calls.answer = lambda line: status_of_new_name if line.startswith("apt-cache show") else 0
    assert bootstrap.install_on_debian(["libasound2"])
    assert calls.lines[-1].endswith(f"--no-install-recommends {name}")


@pytest.mark.parametrize(
    ("tool", "line"),
    [
        ("apt-get", "sudo apt-get update && sudo apt-get install -y libegl1"),
        ("dnf", "sudo dnf install"),
        ("pacman", "sudo pacman -S"),
    ],
)
def test_without_rights_the_line_to_type_is_said(
    monkeypatch: pytest.MonkeyPatch, calls: Calls, capfd: pytest.CaptureFixture, tool: str, line: str
) -> None:
    set_display(monkeypatch, ":0")
    monkeypatch.setattr(bootstrap, "can_load", lambda library: library != "libEGL.so.1")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if name == tool else None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    bootstrap.provide_system_libraries("run")
    assert calls.lines == []
    assert line in capfd.readouterr().out


def test_run_hands_its_arguments_to_the_program(monkeypatch: pytest.MonkeyPatch, calls: Calls) -> None:
    set_display(monkeypatch, ":0")
    assert bootstrap.run_program(["--model", "prior"]) == 0
    assert calls.lines[0].endswith("app.py --model prior")


WAITING = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
signal.signal(signal.SIGINT, lambda *_: sys.exit(8))
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 7), (signal.SIGINT, 8)])
def test_what_ends_the_start_script_ends_the_program_in_its_own_way(number: signal.Signals, status: int) -> None:
    start = f"import sys, bootstrap; sys.exit(bootstrap.call(sys.executable, '-c', {WAITING!r}))"
    with subprocess.Popen(
        [sys.executable, "-c", start], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if number == signal.SIGINT:  # a terminal sends it to all
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        assert process.wait(LIMIT_S) == status


def test_without_a_display_the_clip_becomes_images(
    monkeypatch: pytest.MonkeyPatch, calls: Calls, capfd: pytest.CaptureFixture
) -> None:
    set_display(monkeypatch, None)
    assert bootstrap.run_program([]) == 0
    assert "-m handviz reconstruct" in calls.lines[0]
    assert calls.lines[0].endswith(f"hands.mp4 --model final --out {PROJECT_ROOT / 'out'}")
    assert str(PROJECT_ROOT / "out") in capfd.readouterr().out


@pytest.mark.parametrize("display", [None, ":0"])
def test_every_check_runs_and_the_first_failure_counts(
    monkeypatch: pytest.MonkeyPatch, calls: Calls, capfd: pytest.CaptureFixture, display: str | None
) -> None:
    set_display(monkeypatch, display)
    statuses = {"mypy": 3, "worksteal -k crop": 1, "pytest -m display -k crop": 5}
    calls.answer = lambda line: next((code for end, code in statuses.items() if line.endswith(end)), 0)
    assert bootstrap.run_tests(["-k", "crop"]) == 1
    assert len(calls.lines) == 6
    assert any(line.endswith("-m mkdocs build --strict") for line in calls.lines)
    (on_display,) = (line for line in calls.lines if "-m display" in line)
    assert on_display.startswith("xvfb-run") == (display is None)
    assert capfd.readouterr().out.splitlines()[-1] == "[handviz] FAILED: pytest, mypy"


def test_quick_checks_leave_out_slow_tests_the_display_and_the_docs(
    monkeypatch: pytest.MonkeyPatch, calls: Calls
) -> None:
    set_display(monkeypatch, ":0")
    assert bootstrap.run_tests(["--quick", "-k", "crop"]) == 0
    assert len(calls.lines) == 4
    (tests,) = (line for line in calls.lines if "-m pytest" in line)
    assert tests.endswith("-m not slow -k crop")


def test_a_program_that_is_not_there_is_a_message_and_a_status(capfd: pytest.CaptureFixture) -> None:
    assert bootstrap.call("handviz-does-not-exist") == 127
    assert "handviz-does-not-exist does not start" in capfd.readouterr().out


def test_no_display_tests_for_these_arguments_is_no_failure(monkeypatch: pytest.MonkeyPatch, calls: Calls) -> None:
    set_display(monkeypatch, ":0")
    calls.answer = lambda line: 5 if "-m display" in line else 0
    assert bootstrap.run_tests([]) == 0


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["dance"], 2), (["--help"], 0)])
def test_wrong_words_show_how_it_is_used(arguments: list[str], status: int) -> None:
    command = [sys.executable, str(PROJECT_ROOT / "bootstrap.py"), *arguments]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == status
    assert "bootstrap.py test" in outcome.stdout


def test_the_build_machine_runs_the_test_command() -> None:
    script = PROJECT_ROOT / ".ci" / "run"
    assert script.read_text().splitlines()[-1] == 'exec python3 bootstrap.py test "$@"'
    assert os.access(script, os.X_OK)


def test_every_requirement_is_pinned() -> None:
    for name in ("requirements.txt", "requirements-test.txt", "requirements-dev.txt"):
        for line in (PROJECT_ROOT / name).read_text().splitlines():
            assert not line or line.startswith(("#", "-r ")) or "==" in line.partition(";")[0], line


def test_every_requirement_is_listed_with_its_licence() -> None:
    listed = (PROJECT_ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8").lower()
    files = ("requirements.txt", "requirements-test.txt")
    for line in [line for file in files for line in (PROJECT_ROOT / file).read_text().splitlines()]:
        name, _, version = line.partition(";")[0].strip().lower().partition("==")
        # In one cell of a table: "name version", or several names and then the version of all.
        in_one_cell = rf"(?<![\w.-]){re.escape(name.partition('[')[0])}(?![\w-])[^|\n]* {re.escape(version)}(?![\w.])"
        assert not version or re.search(in_one_cell, listed), line
