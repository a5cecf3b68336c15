"""``handviz doctor``: check this machine and the model files, or a downloaded dataset, and print the remedies."""

import argparse
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import (
    CHECKSUM_FILE,
    CLIP_FILE,
    LANDMARKER_FILE,
    MODELS,
    OPEN_HAND_FILE,
    PROJECT_ROOT,
    TEXTURE_NAME,
    variant_file,
)

if TYPE_CHECKING:
    from packaging.requirements import Requirement

State = Literal["ok", "warn", "FAIL"]
MIN_PYTHON = (3, 11)
REQUIREMENTS_FILE = PROJECT_ROOT / "requirements.txt"
PROBE_TIMEOUT_S = 60.0
REINSTALL = "delete the folder .venv, then type: python3 bootstrap.py run"
RESTORE = "restore it: git checkout -- {path}"
IMAGES = 8


# Checks of this machine and of the shipped files; every finding that is not well says what to do.


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    title: str
    state: State
    detail: str
    remedy: str = ""
    """What to do; empty if all is well."""


def check_python() -> Finding:
    """Check that the interpreter is new enough."""
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < MIN_PYTHON:
        return Finding("Python", "FAIL", detail, "install Python 3.11 or newer, then python3 bootstrap.py run")
    return Finding("Python", "ok", detail)


def check_packages(requirements: Path = REQUIREMENTS_FILE) -> list[Finding]:
    """Compare installed packages with the pins: missing ones fail, other versions are a warning."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return [Finding("packages", "FAIL", "packaging is not installed", REINSTALL)]
    lines = [line.strip() for line in requirements.read_text(encoding="utf-8").splitlines()]
    wanted = [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    wanted = [item for item in wanted if item.marker is None or item.marker.evaluate()]
    findings = [finding for item in wanted if (finding := _check_package(item))]
    if _installed("onnxruntime") and _installed("onnxruntime-gpu"):
        detail = "onnxruntime and onnxruntime-gpu overwrite each other"
        findings.append(Finding("packages", "FAIL", detail, REINSTALL))
    return findings or [Finding("packages", "ok", f"{len(wanted)} as pinned in {requirements.name}")]


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _check_package(wanted: "Requirement") -> Finding | None:
    found = _installed(wanted.name)
    if found is None:
        return Finding("packages", "FAIL", f"{wanted.name} is not installed", REINSTALL)
    if not wanted.specifier.contains(found, prereleases=True):
        return Finding("packages", "warn", f"{wanted.name} is {found}, tested with {wanted.specifier}", REINSTALL)
    return None


def check_library(title: str, library: str, package: str) -> Finding:
    """Check that a shared library of the system can be loaded."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return Finding(title, "FAIL", f"{library} cannot be loaded", f"type: sudo apt-get install -y {package}")
    return Finding(title, "ok", library)


def run_probe(name: str, timeout_s: float = PROBE_TIMEOUT_S) -> tuple[bool, str]:
    """Return whether a probe of ``handviz.cli.probes`` succeeded in its own process, and its last line."""
    command = [sys.executable, "-m", "handviz.cli.probes", name]
    try:
        outcome = subprocess.run(
            command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer within {timeout_s:.0f} s"
    lines = (outcome.stderr if outcome.returncode else outcome.stdout).strip().splitlines()
    return outcome.returncode == 0, lines[-1] if lines else f"ended with status {outcome.returncode}"


def check_opengl() -> Finding:
    """Check that an OpenGL 3.3 context can be created."""
    works, text = run_probe("opengl")
    remedy = "" if works else "update the graphics driver; on Debian and Ubuntu: sudo apt-get install -y libgl1 libegl1"
    return Finding("OpenGL", "ok" if works else "FAIL", text, remedy)


def check_display() -> Finding:
    """Check that Qt can open a window; without a display images can still be written, so that is a warning."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        remedy = "for images: python -m handviz reconstruct INPUT --out OUT; for the window: xvfb-run or a desktop"
        return Finding("display", "warn", "no DISPLAY and no WAYLAND_DISPLAY", remedy)
    works, text = run_probe("display")
    remedy = "" if works else "check DISPLAY and the libraries above"
    return Finding("display", "ok" if works else "FAIL", text, remedy)


def check_cameras() -> Finding:
    """Check that there is a camera; clips and folders need none."""
    works, text = run_probe("cameras")
    remedy = "" if works else "plug one in, allow this terminal to use it, or open a clip: python app.py --source FILE"
    return Finding("cameras", "ok" if works else "warn", text, remedy)


def check_provider() -> Finding:
    """Report which hardware runs the networks; an unused NVIDIA card is a warning."""
    works, text = run_probe("onnx")
    if not works:
        return Finding("ONNX Runtime", "FAIL", text, "restore the networks: git checkout -- models")
    if text.startswith("CPU") and shutil.which("nvidia-smi"):
        return Finding(
            "ONNX Runtime", "warn", text, "to use the NVIDIA card install CUDA 13 and cuDNN 9; the CPU will do"
        )
    return Finding("ONNX Runtime", "ok", text)


def check_models(checksums: Path = CHECKSUM_FILE) -> list[Finding]:
    """Check that every file listed in ``SHA256SUMS`` (paths relative to it) exists, complete and unchanged."""
    if not checksums.is_file():
        return [Finding("models", "FAIL", f"{checksums} is missing", RESTORE.format(path="models"))]
    lines = checksums.read_text(encoding="utf-8").splitlines()
    listed = [(digest, name.strip().lstrip("*")) for digest, _, name in (line.partition(" ") for line in lines) if name]
    findings = [finding for digest, name in listed if (finding := _check_file(checksums.parent / name, digest))]
    return findings or [Finding("models", "ok", f"{len(listed)} files match {checksums.name}")]


def _check_file(path: Path, wanted: str) -> Finding | None:
    remedy = RESTORE.format(path=f"models/{path.name}")
    if not path.is_file():
        return Finding("models", "FAIL", f"{path.name} is missing", remedy)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted.lower():
        detail = f"{path.name} has sha256 {found[:12]}..., expected {wanted[:12]}..."
        return Finding("models", "FAIL", detail, remedy)
    return None


def check_needed_files() -> list[Finding]:
    """Check that the files that a live session opens exist."""
    from handviz.core.records import VARIANTS

    needed = (LANDMARKER_FILE, OPEN_HAND_FILE, CLIP_FILE, MODELS / TEXTURE_NAME, *map(variant_file, VARIANTS))
    missing = [path.relative_to(PROJECT_ROOT).as_posix() for path in needed if not path.is_file()]
    if not missing:
        return [Finding("files", "ok", "detector, hand model, clip and networks are there")]
    return [Finding("files", "FAIL", f"{path} is missing", RESTORE.format(path=path)) for path in missing]


def examine() -> list[Finding]:
    """Run every check that applies to this system, in reading order; without the packages no other could run."""
    findings = [check_python(), *check_packages()]
    if any(finding.state == "FAIL" for finding in findings):
        return findings
    if sys.platform.startswith("linux"):
        findings.append(check_library("EGL", "libEGL.so.1", "libegl1"))
        findings.append(check_library("GLES", "libGLESv2.so.2", "libgles2"))
        findings.append(check_library("xcb-cursor", "libxcb-cursor.so.0", "libxcb-cursor0"))
    singles: tuple[Callable[[], Finding], ...] = (check_opengl, check_display, check_cameras, check_provider)
    findings += [check() for check in singles]
    return [*findings, *check_needed_files(), *check_models()]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for checking a dataset; the check of the machine has none."""
    parser.epilog = (
        "Exit status 1 if something that is needed fails; warnings do not count. Of a dataset: if no split can be "
        "used, or none of a split's images."
    )
    parser.add_argument("--dataset", metavar="NAME", help="check a download instead: freihand, dexycb, ...")
    parser.add_argument("--root", type=Path, metavar="DIR", help="folder that the dataset was unpacked into")
    parser.add_argument(
        "--images", default=str(IMAGES), metavar="N", help="images of each split to open, or all (%(default)s)"
    )
    parser.add_argument(
        "--hand-model", type=Path, metavar="FILE", help="your MANO_RIGHT.pkl, to be held against the dataset's points"
    )


def report(finding: Finding) -> str:
    """Return the finding as one line, with the remedy after an arrow."""
    remedy = f"  ->  {finding.remedy}" if finding.remedy else ""
    return f"{finding.state:5}{finding.title:13} {finding.detail}{remedy}\n"


def run(arguments: argparse.Namespace) -> int:
    """Print one line a check; return 1 if something that is needed fails."""
    if (arguments.dataset is None) != (arguments.root is None):
        raise HandvizError("--dataset NAME and --root DIR go together", ErrorCode.OPTION_CONFLICT)
    if arguments.dataset is not None:
        # Loaded here: without its packages the doctor must still say which are missing.
        from handviz.data.datasets.examination import report_dataset

        images = image_count(arguments.images)
        return report_dataset(arguments.dataset, arguments.root, images, arguments.hand_model)
    findings = examine()
    for finding in findings:
        sys.stdout.write(report(finding))
    return int(any(finding.state == "FAIL" for finding in findings))


def image_count(text: str) -> int | None:
    """Parse a number of at least 1, or None for all."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise HandvizError(f"--images is {text}: give a number of at least 1, or all", ErrorCode.BAD_VALUE)
    return int(text)
