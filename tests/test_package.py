"""The package as users get it: what is in the wheel, and what it does in an environment and folder of its own.

Nothing is downloaded: the wheel is built by the build backend at hand, and its environment sees the running packages.
"""

import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

from handviz.__main__ import main
from handviz.core.extras import EXTRAS_OF_MODULE
from handviz.core.paths import CLIP_FILE, PROJECT_ROOT
from tests.environments import make_venv, python_in, run_away, script_in, site_packages_of

pytestmark = pytest.mark.slow

USERS_FILES = (
    "models/mano/MANO_RIGHT.pkl",
    "models/handviz_mine.onnx",
    "models/adapted/handviz_final.onnx",
    "assets/photograph.jpg",
    "handviz/hand_models/MANO_LEFT.pkl",
)
BASE_COMMANDS = (
    "animate",
    "benchmark",
    "cluster",
    "doctor",
    "inspect",
    "landmarks",
    "mano",
    "reconstruct",
    "synthesize",
)
OF_CHECKS_ONLY = ("pytest", "hypothesis", "trimesh", "_pytest")
# mediapipe brings matplotlib to every installation.
WITHOUT = (*(module for module in EXTRAS_OF_MODULE if module != "matplotlib"), *OF_CHECKS_ONLY)
WITHOUT_EXTRAS = f'''
"""Packages that Python does not find: they are installed, but not in the environment that the test is about."""
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {WITHOUT!r} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
'''


def committed_files(*folders: str) -> list[str]:
    """Return the paths of what git knows in these folders, relative to the clone."""
    names = subprocess.run(["git", "ls-files", "-z", *folders], cwd=PROJECT_ROOT, capture_output=True, check=True)
    return [name for name in names.stdout.decode().split("\0") if name and (PROJECT_ROOT / name).is_file()]


def build(source: Path, out: Path) -> list[str]:
    """Build a wheel from a folder or an archive, without the network; return the names in it."""
    offline = ("--no-index", "--no-deps", "--no-build-isolation")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", *offline, "-w", out, source], check=True)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@dataclass(frozen=True)
class Built:
    """A wheel that was built from a copy of the clone with a user's own files in it."""

    source: Path
    wheel: Path
    names: list[str]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("build")
    source, out = folder / "clone", folder / "wheel"
    for name in (*committed_files(), ".gitignore"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT_ROOT / name, source / name)
    for name in USERS_FILES:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(b"not to be passed on")
    names = build(source, out)
    return Built(source, next(out.glob("*.whl")), names)


def install(built: Built, venv: Path) -> Path:
    """Install the wheel into an environment; return the environment."""
    make_venv(venv)
    # A clone that the running environment has installed is no reason to leave the wheel out.
    offline = ("--no-index", "--no-deps", "--ignore-installed", "--disable-pip-version-check")
    subprocess.run(
        [sys.executable, "-m", "pip", "-q", "--python", python_in(venv), "install", *offline, built.wheel], check=True
    )
    return venv


@pytest.fixture(scope="module")
def venv(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment with all extras."""
    return install(built, tmp_path_factory.mktemp("all") / "venv")


@pytest.fixture(scope="module")
def bare_venv(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment in which the packages of the extras and of the checks do not exist."""
    venv = install(built, tmp_path_factory.mktemp("bare") / "venv")
    folder = site_packages_of(venv)
    (folder / "without_extras.py").write_text(WITHOUT_EXTRAS, encoding="utf-8")
    (folder / "without_extras.pth").write_text("import without_extras\n", encoding="utf-8")
    return venv


@pytest.fixture(scope="module")
def frame_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an image of the bundled clip."""
    path = tmp_path_factory.mktemp("image") / "frame.png"
    clip = cv2.VideoCapture(str(CLIP_FILE))
    _, image = clip.read()
    clip.release()
    cv2.imwrite(str(path), image)
    return path


def files_of(venv: Path) -> set[Path]:
    """Return what is installed, without the caches of Python."""
    return {path for path in site_packages_of(venv).rglob("*") if "__pycache__" not in path.parts}


def in_wheel(name: str) -> str:
    """Return the place in the wheel of a committed file."""
    return f"handviz/bundled/{name}" if name.startswith(("assets/", "models/")) else name


def test_the_wheel_holds_every_committed_file_and_nothing_else(built: Built) -> None:
    expected = {in_wheel(name) for name in committed_files("handviz", "assets", "models")}
    assert {name for name in built.names if ".dist-info/" not in name} == expected
    with zipfile.ZipFile(built.wheel) as archive:
        for name in committed_files("assets", "models"):
            assert archive.read(in_wheel(name)) == (PROJECT_ROOT / name).read_bytes(), name


def test_the_licences_of_others_are_in_the_wheel(built: Built) -> None:
    assert {Path(name).name for name in built.names if "/licenses/" in name} == {"LICENSE", "THIRD_PARTY.md"}


def test_the_source_archive_holds_no_file_of_a_user_and_builds_the_same_wheel(built: Built, tmp_path: Path) -> None:
    source = shutil.copytree(built.source, tmp_path / "clone")
    for path in (source / "models").glob("*.onnx"):
        path.write_bytes(b"short, as an archive of the networks takes half a minute")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path / "archive")]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (archive,) = (tmp_path / "archive").iterdir()
    shutil.unpack_archive(archive, tmp_path / "unpacked", filter="data")
    (root,) = (tmp_path / "unpacked").iterdir()
    assert [name for name in USERS_FILES if (root / name).exists()] == []
    for name in committed_files():
        assert (root / name).is_file() or name.startswith("."), name
    assert sorted(build(archive, tmp_path / "wheel")) == sorted(built.names)


def test_an_installed_handviz_gives_the_numbers_of_the_clone(venv: Path, frame_file: Path, tmp_path: Path) -> None:
    done = run_away(tmp_path, script_in(venv, "handviz"), "reconstruct", frame_file, "--out", "installed")
    assert done.returncode == 0, done.stderr
    assert main(["reconstruct", str(frame_file), "--out", str(tmp_path / "clone")]) == 0
    there, here = (json.loads((tmp_path / name / "hands.json").read_text()) for name in ("installed", "clone"))
    assert there == here
    assert there[0]["hands"]
    assert {path.name for path in (tmp_path / "installed").iterdir()} == {
        path.name for path in (tmp_path / "clone").iterdir()
    }


def test_the_doctor_of_an_installation(venv: Path, tmp_path: Path) -> None:
    ask = "import platformdirs; print(platformdirs.user_data_path('handviz', appauthor=False))"
    surroundings = {"XDG_DATA_HOME": str(tmp_path / "data")}
    folder = Path(run_away(tmp_path, python_in(venv), "-c", ask, **surroundings).stdout.strip())
    before = files_of(venv)
    done = run_away(tmp_path, python_in(venv), "-m", "handviz", "doctor", **surroundings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"MANO files in {folder / 'models' / 'mano'}" in done.stdout
    assert f"runs in {folder / 'runs'}" in done.stdout
    assert f"installed in {site_packages_of(venv) / 'handviz'}" in done.stdout
    assert "git checkout" not in done.stdout
    assert not folder.exists(), "nothing is made before it is needed"
    assert files_of(venv) == before, "nothing is written into the package"


def test_without_extras_doctor_and_reconstruct_pass(bare_venv: Path, frame_file: Path, tmp_path: Path) -> None:
    ask = f"import importlib.util as u; print([name for name in {WITHOUT!r} if u.find_spec(name)])"
    assert run_away(tmp_path, python_in(bare_venv), "-c", ask).stdout.strip() == "[]"
    doctor = run_away(tmp_path, script_in(bare_venv, "handviz"), "doctor")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    for extra in ("gui", "train", "cluster"):
        assert f'pip install "handviz[{extra}]"' in doctor.stdout
    made = run_away(
        tmp_path, script_in(bare_venv, "handviz"), "reconstruct", frame_file, "--out", "out", "--mesh", "glb"
    )
    assert made.returncode == 0, made.stderr
    assert json.loads((tmp_path / "out" / "hands.json").read_text())[0]["hands"]


@pytest.mark.parametrize(
    ("program", "arguments", "extra"),
    [
        ("handviz-gui", (), "gui"),
        ("handviz", ("train", "--data", "a", "--validation", "b", "--run", "c"), "train"),
        ("handviz", ("evaluate",), "train"),
        ("handviz", ("cluster", ".", "--out", "out"), "cluster"),
    ],
)
def test_without_an_extra_the_line_to_type_is_said(
    bare_venv: Path, frame_file: Path, tmp_path: Path, program: str, arguments: tuple[str, ...], extra: str
) -> None:
    shutil.copy(frame_file, tmp_path)
    done = run_away(tmp_path, script_in(bare_venv, program), *arguments)
    assert done.returncode == 1
    assert f'pip install "handviz[{extra}]"' in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_commands_that_need_no_extra(bare_venv: Path, tmp_path: Path) -> None:
    script = f"""
from handviz.__main__ import main
def status(command):
    try:
        return main([command, "--help"])
    except SystemExit as stop:
        return stop.code
print([command for command in {BASE_COMMANDS!r} if status(command)])
"""
    done = run_away(tmp_path, python_in(bare_venv), "-c", script)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_hands_are_rendered_without_extras(bare_venv: Path, tmp_path: Path) -> None:
    arguments = ("synthesize", "--count", "2", "--seed", "3", "--out", "hands", "--workers", "1")
    done = run_away(tmp_path, script_in(bare_venv, "handviz"), *arguments)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "hands" / "shard_00000_pictures.npz").is_file()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can be without a display")
def test_the_window_needs_a_display_and_says_so(venv: Path, tmp_path: Path) -> None:
    without = dict.fromkeys(("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"), "")
    done = run_away(tmp_path, script_in(venv, "handviz-gui"), HANDVIZ_CONFIG_DIR=str(tmp_path), **without)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "handviz reconstruct" in done.stderr
