"""Virtual environments for tests of installations: they see the packages of the running one, and need no network."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path


def python_in(venv: Path) -> Path:
    """Return the interpreter of an environment."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def script_in(venv: Path, name: str) -> Path:
    """Return a console script of an environment."""
    return python_in(venv).with_name(f"{name}.exe" if os.name == "nt" else name)


def site_packages_of(venv: Path) -> Path:
    """Return the folder that an environment installs into."""
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([python_in(venv), "-c", ask], capture_output=True, text=True, check=True).stdout.strip())


def show_running_packages(venv: Path) -> None:
    """Let an environment see the packages of the running one, after its own.

    ``.pth`` files in that folder, such as the one of a clone's own installation, are not read by this.
    """
    (site_packages_of(venv) / "running.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")


def make_venv(venv: Path) -> Path:
    """Make an environment without pip that sees the running packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    show_running_packages(venv)
    return venv


def run_away(folder: Path, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder that has nothing to do with the clone, which the surroundings do not name either."""
    surroundings: Mapping[str, str] = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**surroundings, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
