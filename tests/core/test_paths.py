"""Where files lie: in a clone where the repository has them, of an installed package in the user's own folder."""

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import platformdirs
import pytest

from handviz.core import paths
from handviz.core.paths import PROJECT_ROOT


def loaded_from(folder: Path) -> ModuleType:
    """Load the module as if the package lay in a folder."""
    file = folder / "handviz" / "core" / "paths.py"
    file.parent.mkdir(parents=True)
    file.write_text(Path(str(paths.__file__)).read_text(encoding="utf-8"), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("paths_elsewhere", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_clone_keeps_everything_where_it_was() -> None:
    assert paths.IS_CLONE
    assert (paths.MODELS, paths.ASSETS) == (PROJECT_ROOT / "models", PROJECT_ROOT / "assets")
    assert (paths.MANO_FOLDER, paths.EXPORTS) == (PROJECT_ROOT / "models" / "mano", PROJECT_ROOT / "models")
    assert Path("runs") == paths.RUNS
    assert paths.how_to_restore(paths.MODELS / "a.onnx") == "restore it: git checkout -- models/a.onnx"


@pytest.mark.parametrize("name", ["MANO_FOLDER", "ADAPTED"])
def test_git_ignores_what_a_user_keeps_in_a_clone(name: str) -> None:
    file = getattr(paths, name) / "file.onnx"
    assert subprocess.run(["git", "check-ignore", "-q", str(file)], cwd=PROJECT_ROOT, check=False).returncode == 0


def test_an_installed_package_leaves_the_users_files_to_the_user(tmp_path: Path) -> None:
    (tmp_path / "handviz" / "bundled").mkdir(parents=True)
    installed = loaded_from(tmp_path)
    user = platformdirs.user_data_path("handviz", appauthor=False)
    assert not installed.IS_CLONE
    assert installed.model_file("final") == tmp_path / "handviz" / "bundled" / "models" / "handviz_final.onnx"
    assert tmp_path / "handviz" / "bundled" / "assets" / "hands.mp4" == installed.CLIP_FILE
    folders = (installed.MANO_FOLDER, installed.EXPORTS, installed.ADAPTED, installed.RUNS)
    assert all(folder.is_relative_to(user) for folder in folders)
    assert len(set(folders)) == 4
    assert "pip install" in installed.how_to_restore(installed.MODELS)
    assert "tools" not in installed.restore_or_build("build landmarker")


def test_a_package_without_bundled_files_is_a_clone(tmp_path: Path) -> None:
    moved = loaded_from(tmp_path)
    assert moved.IS_CLONE
    assert tmp_path / "models" / "mano" == moved.MANO_FOLDER
