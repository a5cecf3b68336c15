"""``python3 bootstrap.py run [arguments of app.py]`` and ``python3 bootstrap.py test [--quick] [arguments of pytest]``.

Needs nothing but Python 3.11: makes ``.venv``, installs requirements.txt, handviz itself (editable) and what the
system lacks, then starts the program or the checks (``--quick``: without the slow tests). A second start finds
everything in place and begins at once.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PROJECT = ROOT / "pyproject.toml"
REQUIREMENTS = ROOT / "requirements.txt"
# Names requirements.txt too, and what only the checks need.
TEST_REQUIREMENTS = ROOT / "requirements-test.txt"
STAMP = VENV / "handviz-requirements.sha256"
PROJECT_STAMP = VENV / "handviz-project.sha256"
UNFINISHED = VENV / "handviz-installing"
OLDEST_PYTHON = (3, 11)
QUICK = "--quick"
DISPLAY_TESTS = "pytest on a display"
# Each leaves a core to the others.
SINGLE_PROCESS = (DISPLAY_TESTS, "docs", "mypy")
NO_TESTS_COLLECTED = 5
COMMAND_NOT_FOUND = 127

DEBIAN_PACKAGE_OF_LIBRARY = {
    "libEGL.so.1": "libegl1",
    "libGLESv2.so.2": "libgles2",
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-shm.so.0": "libxcb-shm0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
}
# Those of Qt's web engine, which only tests load.
DEBIAN_PACKAGE_OF_TEST_LIBRARY = {
    "libnss3.so": "libnss3",
    "libasound.so.2": "libasound2",
    "libgbm.so.1": "libgbm1",
    "libudev.so.1": "libudev1",
    "libXcomposite.so.1": "libxcomposite1",
    "libXdamage.so.1": "libxdamage1",
    "libXrandr.so.2": "libxrandr2",
    "libXtst.so.6": "libxtst6",
    "libxcb-dri3.so.0": "libxcb-dri3-0",
    "libxkbfile.so.1": "libxkbfile1",
}
# Where there is a package of the new name, the old one is only a word for several that provide it.
NEW_NAMES = {"libasound2": "libasound2t64"}
OTHER_SYSTEMS = {
    "dnf": "sudo dnf install xorg-x11-server-Xvfb xorg-x11-xauth strace mesa-libEGL libglvnd-gles libglvnd-glx "
    "xcb-util-cursor xcb-util-wm xcb-util-image xcb-util-keysyms xcb-util-renderutil libxkbcommon-x11 "
    "nss alsa-lib mesa-libgbm libXcomposite libXdamage libXrandr libXtst libxkbfile",
    "pacman": "sudo pacman -S --needed xorg-server-xvfb xorg-xauth strace mesa libglvnd xcb-util-cursor xcb-util-wm "
    "xcb-util-image xcb-util-keysyms xcb-util-renderutil libxkbcommon-x11 "
    "nss alsa-lib libxcomposite libxdamage libxrandr libxtst libxkbfile",
}


def say(text: str) -> None:
    """Print one line at once, in step with the output of the programs started here."""
    print(f"[handviz] {text}", flush=True)


def call(*command: str | Path, quiet: bool = False) -> int:
    """Run a command in the project's folder; return its exit status, 127 if it cannot be started."""
    errors = subprocess.DEVNULL if quiet else None
    try:
        with subprocess.Popen([str(part) for part in command], cwd=ROOT, stderr=errors) as process:
            return wait_and_forward(process)
    except OSError as error:
        if not quiet:
            say(f"{command[0]} does not start: {error.strerror}")
        return COMMAND_NOT_FOUND


def wait_and_forward(process: subprocess.Popen[bytes]) -> int:
    """Wait for a command's end and return its exit status; what ends this process ends the command first.

    A terminal sends Ctrl+C to both: the command decides when it is done. SIGTERM and SIGHUP are passed on to it.
    """
    if threading.current_thread() is not threading.main_thread():
        return process.wait()

    def forward(number: int, _: object) -> None:
        process.send_signal(number)

    handlers = {signal.SIGINT: lambda *_: None}
    handlers |= {getattr(signal, name): forward for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)}
    # One that is ignored stays so: nohup asks for it.
    before = {
        number: signal.signal(number, handler)
        for number, handler in handlers.items()
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def has_display() -> bool:
    """Return whether a window can be shown."""
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def can_load(library: str) -> bool:
    """Return whether the system finds a shared library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def lacking_debian_packages(command: str) -> list[str]:
    """Return Debian's names of what ``run`` or ``test`` needs and this Linux lacks."""
    libraries = DEBIAN_PACKAGE_OF_LIBRARY | (DEBIAN_PACKAGE_OF_TEST_LIBRARY if command == "test" else {})
    lacking = [package for library, package in libraries.items() if not can_load(library)]
    if importlib.util.find_spec("ensurepip") is None:
        lacking.append("python3-venv")
    if command == "test" and not has_display():
        lacking += [package for package, tool in (("xvfb", "xvfb-run"), ("xauth", "xauth")) if not shutil.which(tool)]
    if command == "test" and not shutil.which("strace"):
        lacking.append("strace")
    return lacking


def new_name_if_there(package: str) -> str:
    """Return the package's name in this release."""
    new_name = NEW_NAMES.get(package)
    return new_name if new_name and call("apt-cache", "show", "--quiet", new_name, quiet=True) == 0 else package


def install_on_debian(packages: list[str]) -> bool:
    """Install with apt-get, as root or with a sudo that needs no password; return False if that was not possible."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if not is_root and (not shutil.which("sudo") or call("sudo", "-n", "true", quiet=True) != 0):
        return False
    apt = [*([] if is_root else ["sudo", "-n"]), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    say(f"installing {' '.join(packages)}")
    call(*apt, "update", "-q")
    packages = [new_name_if_there(package) for package in packages]
    return call(*apt, "install", "-y", "-q", "--no-install-recommends", *packages) == 0


def provide_system_libraries(command: str) -> None:
    """Install what the system lacks, or print the command; continue either way, as the check may be wrong."""
    if sys.platform == "win32" and not can_load("msvcp140.dll"):
        say("the Visual C++ runtime is missing; type: winget install Microsoft.VCRedist.2015+.x64")
    if not sys.platform.startswith("linux"):
        return
    lacking = lacking_debian_packages(command)
    if not lacking or (shutil.which("apt-get") and install_on_debian(lacking)):
        return
    line = f"sudo apt-get update && sudo apt-get install -y {' '.join(lacking)}"
    for tool, other_line in OTHER_SYSTEMS.items():
        if shutil.which(tool) and not shutil.which("apt-get"):
            line = other_line
    say(f"this system lacks libraries (Debian's names: {', '.join(lacking)}); type:\n\n    {line}\n")


def venv_python() -> Path:
    """Return the interpreter inside ``.venv``."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def venv_is_sound() -> bool:
    """Return whether ``.venv`` is intact: its Python starts, is new enough, has pip, and no install was interrupted."""
    if UNFINISHED.exists() or not venv_python().exists():
        return False
    probe = f"import pip, sys; sys.exit(sys.version_info < {OLDEST_PYTHON})"
    return call(venv_python(), "-c", probe, quiet=True) == 0


def requirements_digest(command: str = "run") -> str:
    """Return the stamp's content: it changes whenever the requirements of ``run`` or ``test`` do."""
    files = [REQUIREMENTS, *([TEST_REQUIREMENTS] if command == "test" else [])]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def everything_is_installed(command: str) -> bool:
    """Return whether the stamp covers what the command needs."""
    enough = {requirements_digest(command), requirements_digest("test")}
    return STAMP.exists() and STAMP.read_text() in enough


def project_digest() -> str:
    """Return the project stamp's content: it changes with pyproject.toml, and where the clone is moved or copied."""
    return hashlib.sha256(PROJECT.read_bytes() + str(ROOT).encode()).hexdigest()


def install_project() -> None:
    """Install handviz itself without the network, so that ``.venv``'s handviz works in any folder.

    A failure is no reason not to start: in this folder Python finds handviz without.
    """
    if PROJECT_STAMP.exists() and PROJECT_STAMP.read_text() == project_digest():
        return
    offline = ("--no-index", "--no-deps", "--no-build-isolation")
    pip = (venv_python(), "-m", "pip", "install", "--disable-pip-version-check", "-q")
    if call(*pip, *offline, "--editable", ROOT):
        say("pip could not install handviz itself, see above: 'python -m handviz' works in this folder only")
        return
    PROJECT_STAMP.write_text(project_digest())


def prepare_venv(command: str = "run") -> int:
    """Create or repair ``.venv``, install what the command needs unless that was done; return an exit status."""
    if not venv_is_sound():
        say(f"making {VENV.name}")
        # The base interpreter: the running one may be the broken environment's own.
        python = getattr(sys, "_base_executable", None) or sys.executable
        status = call(python, "-m", "venv", "--clear", VENV)
        if status:
            say("no environment could be made; on Debian or Ubuntu type: apt-get install -y python3-venv")
            return status
    if not everything_is_installed(command) and (status := install_requirements(command)):
        return status
    install_project()
    return 0


def install_requirements(command: str) -> int:
    """Install what the command needs; return an exit status. An interrupted install leaves its mark."""
    requirements = TEST_REQUIREMENTS if command == "test" else REQUIREMENTS
    say(f"installing {requirements.name} (the first time this takes some minutes)")
    STAMP.unlink(missing_ok=True)
    UNFINISHED.touch()
    status = call(venv_python(), "-m", "pip", "install", "--disable-pip-version-check", "-q", "-r", requirements)
    UNFINISHED.unlink()
    if status:
        say("pip could not install everything, see above; the next start tries again")
        return status
    STAMP.write_text(requirements_digest(command))
    return 0


def run_program(arguments: list[str]) -> int:
    """Start the window; without a display reconstruct the bundled clip to images instead."""
    if has_display():
        return call(venv_python(), ROOT / "app.py", *arguments)
    say("no display here: reconstructing the bundled clip to images instead")
    if arguments:
        say(f"left aside, as they are for the window: {' '.join(arguments)}")
    clip, out = ROOT / "assets" / "hands.mp4", ROOT / "out"
    status = call(venv_python(), "-m", "handviz", "reconstruct", clip, "--model", "final", "--out", out)
    if status == 0:
        say(f"the images, meshes and hands.json are in {out}")
    return status


def check_commands(arguments: list[str], *, is_quick: bool) -> dict[str, list[str]]:
    """Return every check's command by its name; the quick ones omit slow tests, display tests and the docs site."""
    python = [str(venv_python()), "-m"]
    screen = [] if has_display() else ["xvfb-run", "-a", "-s", "-screen 0 1280x1024x24"]
    choice = ["-m", "not slow"] if is_quick else []
    steps = {
        "ruff check": [*python, "ruff", "check", "."],
        "ruff format": [*python, "ruff", "format", "--check", "."],
        "pytest": [*python, "pytest", "-n", "auto", "--maxprocesses", "4", "--dist", "worksteal", *choice, *arguments],
    }
    if not is_quick:
        steps[DISPLAY_TESTS] = [*screen, *python, "pytest", "-m", "display", *arguments]
        # The site lies in "site", which git ignores. Not "--quiet": it would hide warnings from "--strict" too.
        steps["docs"] = [*python, "mkdocs", "build", "--strict"]
    return steps | {"mypy": [*python, "mypy"]}


def check(name: str, command: list[str]) -> int:
    """Run one of the checks; return its exit status."""
    say(name)
    status = call(*command)
    return 0 if (name, status) == (DISPLAY_TESTS, NO_TESTS_COLLECTED) else status


def run_tests(arguments: list[str]) -> int:
    """Run lint, format, types, tests, and if not quick display tests and docs; return the first failing status."""
    # The theme's notice of its successor is no result of a check.
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")
    steps = check_commands([argument for argument in arguments if argument != QUICK], is_quick=QUICK in arguments)
    alone = [name for name in steps if name not in SINGLE_PROCESS]
    statuses = {name: check(name, steps[name]) for name in alone}
    with ThreadPoolExecutor() as pool:
        together = [name for name in steps if name in SINGLE_PROCESS]
        statuses |= dict(zip(together, pool.map(check, together, [steps[name] for name in together]), strict=True))
    failed = {name: status for name, status in statuses.items() if status}
    if failed:
        say(f"FAILED: {', '.join(failed)}")
        return next(iter(failed.values()))
    say("all checks passed")
    return 0


def main(arguments: list[str]) -> int:
    """Prepare the environment and run the command; return the exit status."""
    commands = {"run": run_program, "test": run_tests}
    if not arguments or arguments[0] not in commands:
        print(__doc__)
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    if sys.version_info < OLDEST_PYTHON:
        say(f"Python {sys.version.split()[0]} is too old: handviz needs 3.11 or newer")
        return 1
    try:
        provide_system_libraries(arguments[0])
        return prepare_venv(arguments[0]) or commands[arguments[0]](arguments[1:])
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
