"""``handviz doctor``: check this machine and the model files, or a downloaded dataset, and print the remedies."""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from handviz import __version__
from handviz.core.arguments import AsJson, Option, whole_number
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.extras import PURPOSES, install_line, missing_modules
from handviz.core.output import print_json, print_text
from handviz.core.paths import (
    ADAPTED,
    CHECKSUM_FILE,
    CLIP_FILE,
    EXPORTS,
    IS_CLONE,
    MANO_FOLDER,
    MODELS,
    OPEN_HAND_FILE,
    PACKAGE,
    PROJECT_ROOT,
    RUNS,
    TEXTURE_NAME,
    TRUNK_NAME,
    WINDOW_COMMAND,
    cache_folder,
    how_to_restore,
    settings_folder,
)

if TYPE_CHECKING:
    from packaging.requirements import Requirement

State = Literal["ok", "off", "warn", "FAIL"]
MIN_PYTHON = (3, 11)
REQUIREMENTS_FILE = PROJECT_ROOT / "requirements.txt"
PROBE_TIMEOUT_S = 60.0
REINSTALL_ALL = "delete the folder .venv, then type: python3 bootstrap.py run"
OPENCV = ("opencv-contrib-python", "opencv-python", "opencv-python-headless", "opencv-contrib-python-headless")
SHARED_FOLDERS: dict[tuple[str, ...], State] = {("onnxruntime-gpu", "onnxruntime"): "FAIL", OPENCV: "warn"}
"""Packages that fill the same folder, the one to have first -> how bad two of them are."""
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
        return Finding("Python", "FAIL", detail, "install Python 3.11 or newer")
    return Finding("Python", "ok", detail)


def declared_requirements() -> "list[Requirement]":
    """Return what handviz itself asks for, without extras: of a clone as pyproject.toml says now."""
    from packaging.requirements import Requirement

    if IS_CLONE:
        project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        lines: list[str] = project["dependencies"]
    else:
        lines = requires("handviz") or []
    return [item for item in map(Requirement, lines) if _applies(item)]


def pinned_requirements(path: Path = REQUIREMENTS_FILE) -> "list[Requirement]":
    """Return the versions that a clone was tested with; empty where there is no such file."""
    from packaging.requirements import Requirement

    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    return [
        item for item in (Requirement(line) for line in lines if line and not line.startswith(("#", "-")))
        if _applies(item)
    ]  # fmt: skip


def _applies(wanted: "Requirement", extra: str = "") -> bool:
    return wanted.marker is None or wanted.marker.evaluate({"extra": extra})


def missing_requirements(wanted: "Iterable[Requirement]") -> "list[Requirement]":
    """Return those that are not installed, with what the installed ones need in turn."""
    from packaging.requirements import Requirement

    missing: dict[str, Requirement] = {}
    waiting, seen = list(wanted), set()
    while waiting:
        item = waiting.pop()
        name = item.name.lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        if _installed(item.name) is None:
            missing[name] = item
        else:
            waiting += [one for one in map(Requirement, requires(item.name) or []) if _applies(one)]
    return sorted(missing.values(), key=str)


def check_packages(
    declared: "list[Requirement] | None" = None, pins: "list[Requirement] | None" = None
) -> list[Finding]:
    """Check what handviz needs in any case: a missing package fails, an untested version is a warning."""
    try:
        declared = declared_requirements() if declared is None else declared
    except ImportError:
        return [Finding("packages", "FAIL", "packaging is not installed", _install("packaging"))]
    pins = pinned_requirements() if pins is None else pins
    findings = [
        Finding("packages", "FAIL", f"{item.name} is not installed", _install(f"{item.name}{item.specifier}"))
        for item in missing_requirements(declared)
    ]
    findings += [finding for item in pins or declared if (finding := _check_version(item))]
    return [*findings, *check_conflicts()] or [Finding("packages", "ok", f"{len(declared)} that handviz needs")]


def _install(requirement: str) -> str:
    return REINSTALL_ALL if IS_CLONE else f'type: pip install "{requirement}"'


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _check_version(wanted: "Requirement") -> Finding | None:
    found = _installed(wanted.name)
    if found is None or wanted.specifier.contains(found, prereleases=True):
        return None
    remedy = _install(f"{wanted.name}{wanted.specifier}")
    return Finding("packages", "warn", f"{wanted.name} is {found}, tested with {wanted.specifier}", remedy)


def check_conflicts() -> list[Finding]:
    """Check that no two packages write the same files in two versions."""
    findings = []
    for names, state in SHARED_FOLDERS.items():
        there = {name: found for name in names if (found := _installed(name))}
        # Two OpenCV of one version fit each other, two ONNX Runtimes never do.
        if len(there) > 1 and (len(set(there.values())) > 1 or state == "FAIL"):
            remedy = f"type: pip uninstall {' '.join(there)}, then: pip install {names[0]}"
            findings.append(Finding("packages", state, f"{' and '.join(there)} overwrite each other", remedy))
    return findings


def check_extras() -> list[Finding]:
    """Report which extras are installed; handviz does without them, so that none fails."""
    findings = []
    for extra, purpose in PURPOSES.items():
        missing = missing_modules(extra)
        if missing:
            detail = f"not installed ({', '.join(missing)}): {purpose}"
            findings.append(Finding(f"extra {extra}", "off", detail, f"type: {install_line(extra)}"))
        else:
            findings.append(Finding(f"extra {extra}", "ok", purpose))
    return findings


def check_folders() -> list[Finding]:
    """Name the program and the folder of what the user adds."""
    where = f"a clone in {PROJECT_ROOT}" if IS_CLONE else f"installed in {PACKAGE}"
    mano = f"MANO files in {MANO_FOLDER} ({len(list(MANO_FOLDER.glob('*.pkl')))} now)"
    others = f"exports in {EXPORTS}, adapted networks in {ADAPTED}, runs in {Path.cwd() / RUNS}"
    return [
        Finding("handviz", "ok", f"{__version__}, {where}"),
        Finding("your files", "ok", f"{mano}, {others}"),
        Finding("folders", "ok", f"settings in {settings_folder()}, results of inspected folders in {cache_folder()}"),
    ]


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
    remedy = (
        "" if works else f"plug one in, allow this terminal to use it, or open a clip: {WINDOW_COMMAND} --source FILE"
    )
    return Finding("cameras", "ok" if works else "warn", text, remedy)


def check_provider() -> Finding:
    """Report which hardware runs the networks; an unused NVIDIA card is a warning."""
    works, text = run_probe("onnx")
    if not works:
        return Finding("ONNX Runtime", "FAIL", text, how_to_restore(MODELS))
    if text.startswith("CPU") and shutil.which("nvidia-smi"):
        return Finding(
            "ONNX Runtime", "warn", text, "to use the NVIDIA card install CUDA 13 and cuDNN 9; the CPU will do"
        )
    return Finding("ONNX Runtime", "ok", text)


def check_models(checksums: Path = CHECKSUM_FILE) -> list[Finding]:
    """Check that every file listed in ``SHA256SUMS`` (paths relative to it) exists; a changed one is a warning."""
    if not checksums.is_file():
        return [Finding("models", "FAIL", f"{checksums} is missing", how_to_restore(MODELS))]
    from handviz.core.network_files import listed_checksums

    try:
        listed = listed_checksums(checksums)
    except HandvizError as error:
        return [Finding("models", "FAIL", str(error), how_to_restore(MODELS))]
    findings = [finding for name, digest in listed if (finding := _check_file(checksums.parent / name, digest))]
    if any(finding.state == "warn" for finding in findings):
        works, text = run_probe("changed_networks")
        findings += [] if works else [Finding("models", "FAIL", text, how_to_restore(MODELS))]
    return findings or [Finding("models", "ok", f"{len(listed)} files match {checksums.name}")]


def _check_file(path: Path, wanted: str) -> Finding | None:
    remedy = how_to_restore(MODELS / path.name)
    if not path.is_file():
        return Finding("models", "FAIL", f"{path.name} is missing", remedy)
    from handviz.core.network_files import sha256_of

    try:
        found = sha256_of(path)
    except HandvizError as error:
        return Finding("models", "FAIL", str(error), remedy)
    if found != wanted:
        # It may be the user's own: it is loaded, and called changed wherever it is used.
        detail = f"{path.name} is changed: its sha256 is {found[:12]}..., of the shipped file {wanted[:12]}..."
        return Finding("models", "warn", detail, remedy)
    return None


def check_needed_files() -> list[Finding]:
    """Check that the files that a live session opens exist."""
    from handviz.models.registry import shipped_models

    networks = (spec.file for spec in shipped_models())
    others = (MODELS / TRUNK_NAME, MODELS / TEXTURE_NAME)
    needed = dict.fromkeys((OPEN_HAND_FILE, CLIP_FILE, *others, *networks))
    missing = [path for path in needed if not path.is_file()]
    if not missing:
        return [Finding("files", "ok", "hand model, clip and networks are there")]
    return [Finding("files", "FAIL", f"{path} is missing", how_to_restore(path)) for path in missing]


def check_detector() -> Finding:
    """Check the files of the detector; name the version of MediaPipe's library, without importing it."""
    from handviz.detection.detector_files import check_graph
    from handviz.detection.detectors import files_of

    task_file, *graphs = files_of("handviz")
    try:
        for graph in graphs:
            check_graph(graph, task_file)
    except HandvizError as error:
        detail, _, remedy = str(error).rpartition("; ")
        return Finding("detector", "FAIL", detail, remedy)
    library = _installed("mediapipe") or "not installed"
    return Finding("detector", "ok", f"handviz; with --detector mediapipe MediaPipe's library {library}")


def check_families() -> list[Finding]:
    """Name the families of models with their packages; one of another package that cannot be used is a warning."""
    from handviz.models.registry import OWN_PACKAGE, families, family_packages, refused_families

    packages = family_packages()
    texts = [
        family.label
        + ("" if packages[family.id] == OWN_PACKAGE else f" of {packages[family.id]}")
        + f": {', '.join(map(str, family.models)) or 'no model yet, to be trained'}"
        for family in families()
    ]
    refused = [
        Finding("families", "warn", f"those of {one.package} ({one.line}) cannot be used: {reason}", remedy)
        for one in refused_families()
        for reason, _, remedy in [one.reason.rpartition("; ")]
    ]
    return [Finding("families", "ok", "; ".join(texts)), *refused]


def examine() -> list[Finding]:
    """Run every check that applies to this system, in reading order; without the packages no other could run."""
    findings = [check_python(), *check_folders(), *check_packages(), *check_extras()]
    if any(finding.state == "FAIL" for finding in findings):
        return findings
    has_window = not missing_modules("gui")
    if sys.platform.startswith("linux"):
        findings.append(check_library("EGL", "libEGL.so.1", "libegl1"))
        findings.append(check_library("GLES", "libGLESv2.so.2", "libgles2"))
        if has_window:
            findings.append(check_library("xcb-cursor", "libxcb-cursor.so.0", "libxcb-cursor0"))
    of_window: tuple[Callable[[], Finding], ...] = (check_display, check_cameras) if has_window else ()
    findings += [check() for check in (check_opengl, *of_window, check_provider)]
    return [*findings, check_detector(), *check_families(), *check_needed_files(), *check_models()]


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The options for checking a dataset; the check of the machine has none.

    Exit status 1 if something that is needed fails; warnings do not count. Of a dataset: if no split can be used, or
    none of a split's images.
    """

    dataset: Annotated[str | None, Option(metavar="NAME")] = None
    """Check a download instead: freihand, dexycb, ..."""
    root: Annotated[Path | None, Option(metavar="DIR")] = None
    """Folder that the dataset was unpacked into."""
    images: Annotated[str, Option(metavar="N")] = str(IMAGES)
    """Images of each split to open, or all."""
    hand_model: Annotated[Path | None, Option(metavar="FILE")] = None
    """Your MANO_RIGHT.pkl, to be held against the dataset's points."""
    as_json: AsJson = False


def report(finding: Finding) -> str:
    """Return the finding as one line, with the remedy after an arrow."""
    remedy = f"  ->  {finding.remedy}" if finding.remedy else ""
    return f"{finding.state:5}{finding.title:13} {finding.detail}{remedy}\n"


def run(arguments: Arguments) -> int:
    """Print one line a check; return 1 if something that is needed fails."""
    if (arguments.dataset is None) != (arguments.root is None):
        raise HandvizError("--dataset NAME and --root DIR go together", ErrorCode.OPTION_CONFLICT)
    if arguments.dataset is not None and arguments.root is not None:
        # Loaded here: without its packages the doctor must still say which are missing.
        from handviz.data.datasets.examination import report_dataset

        images = image_count(arguments.images)
        return report_dataset(arguments.dataset, arguments.root, images, arguments.hand_model)
    findings = examine()
    if arguments.as_json:
        print_json(findings)
    else:
        print_text("".join(map(report, findings)))
    return int(any(finding.state == "FAIL" for finding in findings))


def image_count(text: str) -> int | None:
    """Parse a number of at least 1, or None for all."""
    if text == "all":
        return None
    try:
        return whole_number(text, 1)
    except ValueError as error:
        raise HandvizError(
            f"--images is {text[:60]}: give a number of at least 1, or all", ErrorCode.BAD_VALUE
        ) from error
