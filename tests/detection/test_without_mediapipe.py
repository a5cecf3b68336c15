"""Without ``--detector mediapipe`` MediaPipe's library is never imported: here every import of it fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from handviz.core.paths import CLIP_FILE, PROJECT_ROOT
from handviz.sources.source import open_source
from tests.fake_datasets.freihand import write as write_freihand
from tests.waiting import LIMIT_S

pytestmark = pytest.mark.slow
REFUSED = "mediapipe was imported"
PRELUDE = f"""
import sys

class Refusing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "mediapipe":
            raise ImportError("{REFUSED}")

sys.meta_path.insert(0, Refusing)
"""
COMMAND = "from handviz.__main__ import main\nsys.exit(main(sys.argv[1:]))"
API = """
import handviz
with handviz.load() as model:
    hands = model(sys.argv[1])
    frames = list(model.track(sys.argv[2], every=60))
sys.exit(not hands or not all(frame.hands for frame in frames))
"""
WINDOW = """
from handviz.gui import app
shown = []

def watch(window, controller):
    def see(answer):
        shown.append(len(answer.result.hands))
        window.close()
    controller.answered.connect(see)

status = app.run(app.parse(["--source", sys.argv[1]]), app.Instruments(watch=watch))
sys.exit(status or (0 if shown and shown[0] else "no hand in the first result"))
"""
ADAPTATION = """
from handviz.adaptation.clip_crops import crops_of
from handviz.sources.source import open_source
source = open_source(sys.argv[1])
assert len(crops_of(source, every=60, limit=2, side="detected"))
"""


def run(script: str, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script in which MediaPipe cannot be imported."""
    surroundings = os.environ | {"QT_QPA_PLATFORM": "offscreen", "HANDVIZ_CONFIG_DIR": str(home)}
    command = [sys.executable, "-c", PRELUDE + script, *words]
    return subprocess.run(
        command, cwd=PROJECT_ROOT, env=surroundings, capture_output=True, text=True, timeout=5 * LIMIT_S, check=False
    )


@pytest.fixture
def image(tmp_path: Path) -> str:
    """Write the first frame of the bundled clip into a folder of its own; return its path."""
    source = open_source(str(CLIP_FILE))
    frame = source.read()
    source.close()
    assert frame is not None
    path = tmp_path / "images" / "hand.png"
    path.parent.mkdir()
    Image.fromarray(frame.image).save(path)
    return str(path)


@pytest.mark.parametrize("model", ["final", "mediapipe"])
def test_reconstruct(image: str, tmp_path: Path, model: str) -> None:
    """The model that is called mediapipe needs its landmarks, not its library."""
    out = tmp_path / "out"
    done = run(COMMAND, tmp_path, "reconstruct", image, "--out", str(out), "--no-overlays", "--model", model)
    assert done.returncode == 0, done.stderr
    assert "1 images with 1 hands" in done.stdout


def test_cluster(image: str, tmp_path: Path) -> None:
    words = ("cluster", str(Path(image).parent), "--out", str(tmp_path / "out"), "--workers", "0")
    done = run(COMMAND, tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 images with 1 hands" in done.stdout


def test_inspect(image: str, tmp_path: Path) -> None:
    done = run(COMMAND, tmp_path, "inspect", str(Path(image).parent))
    assert done.returncode == 0, done.stderr
    assert "1 images with 1 hands" in done.stdout


def test_crops_of_a_dataset_by_the_detector(tmp_path: Path) -> None:
    write_freihand("freihand", tmp_path / "data", 2)
    words = ("evaluate", "prior", "--data", f"freihand/evaluation:{tmp_path / 'data'}", "--crops", "detector")
    done = run(COMMAND, tmp_path, *words)
    assert REFUSED not in done.stderr
    assert "freihand/evaluation: 2 samples" in done.stdout + done.stderr


def test_crops_for_adaptation(tmp_path: Path) -> None:
    done = run(ADAPTATION, tmp_path, str(CLIP_FILE))
    assert done.returncode == 0, done.stderr


def test_the_api(image: str, tmp_path: Path) -> None:
    done = run(API, tmp_path, image, str(CLIP_FILE))
    assert done.returncode == 0, done.stderr


def test_the_window(image: str, tmp_path: Path) -> None:
    done = run(WINDOW, tmp_path, image)
    assert done.returncode == 0, done.stderr


def test_the_doctor_names_its_version(tmp_path: Path) -> None:
    done = run(COMMAND, tmp_path, "doctor")
    assert REFUSED not in done.stderr
    assert "MediaPipe's library" in done.stdout


def test_where_it_is_chosen_it_is_imported(image: str, tmp_path: Path) -> None:
    """The other tests would pass if the import was not refused."""
    words = ("reconstruct", image, "--out", str(tmp_path / "out"), "--no-overlays", "--detector", "mediapipe")
    done = run(COMMAND, tmp_path, *words)
    assert done.returncode != 0
    assert REFUSED in done.stderr
