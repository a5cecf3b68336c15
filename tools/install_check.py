"""Install the wheel into an empty environment of each Python at hand, with a download, and use it in another folder."""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tools
from handviz.core.arguments import Option
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.output import print_result
from handviz.core.paths import CLIP_FILE, PROJECT_ROOT

PYTHONS = ("3.11", "3.12", "3.13")
NOT_WANTED = ("PyQt6", "torch", "ray", "onnx", "pytest")
"""Modules that an installation without extras must not have"""
IMPORT = "import time; start = time.perf_counter(); import handviz; print(time.perf_counter() - start)"
SIX_LINES = """
import handviz
model = handviz.load("final")
for result in model.track("hands.mp4"):
    if result.hands:
        print(result.hands[0].vertices_m.shape, result.hands[0].vertex_std_mm.mean(), result.hands[0].save("hand.glb"))
        break
"""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Environment:
    """An environment that was made for the check."""

    folder: Path
    python: Path

    def run(self, *command: str | Path, cwd: Path) -> str:
        """Run a command without this process's Python settings; return its output, HandvizError if it fails."""
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
        words = [str(part) for part in command]
        done = subprocess.run(words, cwd=cwd, env=surroundings, capture_output=True, text=True, check=False)
        if done.returncode:
            raise HandvizError(
                f"{' '.join(words)} ended with status {done.returncode}: {done.stdout}{done.stderr}",
                ErrorCode.NO_RESULT,
            )
        return done.stdout


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The interpreters."""

    python: tuple[str, ...] = PYTHONS
    """Versions or paths of interpreters."""
    keep: Annotated[Path | None, Option(metavar="DIR")] = None
    """Folder for the environments, kept; without it a temporary one."""


def run(arguments: Arguments) -> int:
    """Check every interpreter that is found; HandvizError if one fails or none is there."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.keep or Path(temporary)).resolve()
        found = {name: path for name in arguments.python if (path := interpreter(name)) is not None}
        for name in set(arguments.python) - found.keys():
            logger.warning("Python %s is not at hand", name)
        if not found:
            raise HandvizError(f"no Python of {', '.join(arguments.python)} is at hand", ErrorCode.FILE_MISSING)
        wheel = built_wheel(folder)
        print_result("%s: %.1f MB", wheel.name, wheel.stat().st_size / 1e6)
        for path in found.values():
            check(path, wheel, folder)
    return 0


def interpreter(name: str) -> Path | None:
    """Return the interpreter of a version or path: on PATH, or else among pyenv's; None if there is none."""
    if Path(name).is_file():
        return Path(name).absolute()
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [*sorted(versions.glob(f"{name}*/bin/python3")), *sorted(versions.glob(f"{name}*/python.exe"))]
    on_path = shutil.which(f"python{name}")
    # One of pyenv's stand-ins is found but does not start where that version is not chosen.
    if on_path and ".pyenv" not in on_path and "shims" not in on_path:
        return Path(on_path)
    return candidates[-1] if candidates else None


def built_wheel(folder: Path) -> Path:
    """Build the wheel of this clone, by an isolated build as pip makes it."""
    out = folder / "wheel"
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", out, PROJECT_ROOT], check=True)
    return next(out.glob("*.whl"))


def check(python: Path, wheel: Path, folder: Path) -> None:
    """Install the wheel without extras and use it; log what came, how large it is and how long each step took."""
    environment, installed_s = installed(python, wheel, folder)
    elsewhere = folder / f"{environment.folder.name}-elsewhere"
    elsewhere.mkdir(parents=True)
    shutil.copy(CLIP_FILE, elsewhere / "hands.mp4")
    packages = json.loads(environment.run(environment.python, "-m", "pip", "list", "--format=json", cwd=elsewhere))
    megabytes = sum(path.stat().st_size for path in environment.folder.rglob("*") if path.is_file()) / 1e6
    version = environment.run(environment.python, "--version", cwd=elsewhere).strip()
    print_result("%s: %d packages, %.0f MB, installed in %.0f s", version, len(packages), megabytes, installed_s)
    print_result("  %s", ", ".join(f"{one['name']} {one['version']}" for one in packages))
    _check_nothing_unwanted(environment, elsewhere)
    print_result("  import handviz: %s s", environment.run(environment.python, "-c", IMPORT, cwd=elsewhere)[:5])
    doctor = environment.run(_script(environment, "handviz"), "doctor", cwd=elsewhere)
    print_result("%s", doctor.rstrip())
    for name, command in _uses(environment).items():
        start_s = time.perf_counter()
        output = environment.run(*command, cwd=elsewhere)
        last = (output.strip().splitlines() or [""])[-1]
        print_result("  %s: %.1f s %s", name, time.perf_counter() - start_s, last)


def installed(python: Path, wheel: Path, folder: Path) -> tuple[Environment, float]:
    """Make an environment and install the wheel from the index; return it and the seconds of the installation."""
    place = folder / f"with-{python.parent.parent.name}-{python.name}"
    subprocess.run([python, "-m", "venv", "--clear", place], check=True)
    inside = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    environment = Environment(place, inside)
    start_s = time.perf_counter()
    environment.run(inside, "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel, cwd=folder)
    return environment, time.perf_counter() - start_s


def _check_nothing_unwanted(environment: Environment, elsewhere: Path) -> None:
    ask = f"import importlib.util as u; print(*[name for name in {NOT_WANTED!r} if u.find_spec(name)])"
    if unwanted := environment.run(environment.python, "-c", ask, cwd=elsewhere).strip():
        raise HandvizError(f"without extras came {unwanted}", ErrorCode.NOT_PROVIDED)


def _uses(environment: Environment) -> dict[str, Sequence[str | Path]]:
    """Return the commands to time, by what they are."""
    reconstruct = (_script(environment, "handviz"), "reconstruct", "hands.mp4", "--every", "100", "--out", "out")
    return {
        "handviz reconstruct, every 100th frame of the clip": reconstruct,
        "six lines": (environment.python, "-c", SIX_LINES),
        # The line of a message about a missing extra finds the handviz that is installed.
        "pip install handviz[gui], tried": (
            environment.python,
            "-m",
            "pip",
            "install",
            "--dry-run",
            "--disable-pip-version-check",
            "handviz[gui]",
        ),
    }


def _script(environment: Environment, name: str) -> Path:
    return environment.python.with_name(f"{name}.exe" if os.name == "nt" else name)


if __name__ == "__main__":
    sys.exit(tools.run("install_check"))
