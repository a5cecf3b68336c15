"""Paths of the files that handviz ships, and of those that the user adds.

In a clone both lie where the repository has them. An installed package ships its files inside itself and never writes
there: what belongs to the user lies in a folder for each user, ``USER_FOLDER``, which ``handviz doctor`` names.
"""

import os
from pathlib import Path

CONFIG_FOLDER_VARIABLE = "HANDVIZ_CONFIG_DIR"
"""Environment variable: a folder for settings and results of inspected folders instead of the user's own."""
PACKAGE = Path(__file__).resolve().parents[1]
"""The folder of the package ``handviz``."""
BUNDLED = PACKAGE / "bundled"
"""``assets/`` and ``models/`` of an installed package; a clone does not have it."""
IS_CLONE = not BUNDLED.is_dir()
PROJECT_ROOT = PACKAGE.parent
"""The clone; of an installed package the folder that it was installed into, where nothing is written."""


def _user_folder() -> Path:
    if IS_CLONE:
        return PROJECT_ROOT
    import platformdirs

    return platformdirs.user_data_path("handviz", appauthor=False)


ASSETS = (PROJECT_ROOT if IS_CLONE else BUNDLED) / "assets"
MODELS = (PROJECT_ROOT if IS_CLONE else BUNDLED) / "models"
"""The networks that handviz ships."""
USER_FOLDER = _user_folder()
"""What the user adds: MANO files, exported and adapted networks, runs. In a clone the clone itself."""
MANO_FOLDER = USER_FOLDER / "models" / "mano"
"""The user's own licensed files, which git ignores."""
EXPORTS = MODELS if IS_CLONE else USER_FOLDER / "models"
"""Where ``export`` writes networks unless told otherwise: in a clone over those that the repository ships."""
ADAPTED = USER_FOLDER / "models" / "adapted"
"""Where ``adapt`` writes unless told otherwise."""
RUNS = Path("runs") if IS_CLONE else USER_FOLDER / "runs"
"""Trainings that are not given a folder; in a clone below the working directory."""
OPEN_HAND_FILE = ASSETS / "open_hand.npz"
FULL_RIG_FILE = ASSETS / "full_rig.npz"
POSTERIOR_FILE = ASSETS / "posterior.npz"
CLIP_FILE = ASSETS / "hands.mp4"
RIG_FILE = ASSETS / "rig" / "RIG.json"
"""Three calibrated cameras and their clips of one hand."""
HELD_OUT_FILE, FORMER_HELD_OUT_FILE = ASSETS / "held_out.json", ASSETS / "held_out_2.json"
"""Held-out crops of the present generator and of version 2."""
LANDMARKER_FILE = MODELS / "hand_landmarker.task"
"""MediaPipe's two hand networks; the next two files read their weights from it."""
PALM_FILE, LANDMARK_FILE = MODELS / "mediapipe_palm.onnx", MODELS / "mediapipe_landmarks.onnx"
CHECKSUM_FILE = MODELS / "SHA256SUMS"
TEXTURE_NAME = "handviz_texture.onnx"
TRUNK_NAME = "handviz_trunk.onnx"
"""The part of AMVUR's networks that its models share."""
REINSTALL = "install handviz again, with: pip install --force-reinstall --no-deps"
RESTORE = "restore it from the repository" if IS_CLONE else REINSTALL
"""The remedy in messages about a file that handviz ships."""
WINDOW_COMMAND = "python app.py" if IS_CLONE else "handviz-gui"
"""How messages call the program."""


def settings_folder() -> Path:
    """Return the folder of the window's settings: the user's configuration folder, or ``HANDVIZ_CONFIG_DIR``."""
    import platformdirs

    chosen = os.environ.get(CONFIG_FOLDER_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_config_path("handviz")


def cache_folder() -> Path:
    """Return the folder of what can be made again: the user's cache folder, or ``HANDVIZ_CONFIG_DIR``."""
    import platformdirs

    chosen = os.environ.get(CONFIG_FOLDER_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_cache_path("handviz")


def model_file(model: str, model_dir: Path = MODELS) -> Path:
    """Return the path of a model's ONNX file."""
    return model_dir / f"handviz_{model}.onnx"


def how_to_restore(path: Path) -> str:
    """Return the remedy for a file that handviz ships, or a folder of them, which is missing or damaged."""
    return f"restore it: git checkout -- {path.relative_to(PROJECT_ROOT).as_posix()}" if IS_CLONE else REINSTALL


def restore_or_build(tool: str) -> str:
    """Return the remedy for a file that handviz ships and that a clone can make anew by ``python -m tools.NAME``."""
    return f"{RESTORE} or run 'python -m tools.{tool}'" if IS_CLONE else RESTORE
