"""``python -m handviz.cli.probes NAME``: test one component of the machine and print one line about it.

Drivers may hang, abort the process or write to the terminal: the doctor starts every probe in a process of its own.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import LANDMARK_FILE, LANDMARKER_FILE, MODELS, PALM_FILE, RESTORE, TEXTURE_NAME, TRUNK_NAME


def opengl() -> str:
    """Return renderer and version of an OpenGL context without a window; raise HandvizError where there is none."""
    from handviz.rendering.offscreen import create_standalone_context

    context = create_standalone_context()
    return f"{context.info['GL_RENDERER']}, OpenGL {context.info['GL_VERSION'].split()[0]}"


def display() -> str:
    """Return Qt's platform and its screen; Qt aborts the process where it finds none."""
    from PyQt6.QtGui import QGuiApplication

    application = QGuiApplication(["handviz"])
    screen = application.primaryScreen()
    if screen is None:
        raise HandvizError("Qt finds no screen", ErrorCode.NO_DISPLAY)
    return f"{application.platformName()}, {screen.size().width()}x{screen.size().height()}"


def cameras() -> str:
    """Return the cameras' names, without opening any; raise HandvizError where there is none."""
    from handviz.sources.camera import list_cameras

    found = list_cameras()
    if not found:
        raise HandvizError("none found", ErrorCode.CAMERA_MISSING)
    return ", ".join(f"{camera.index}: {camera.name}" for camera in found)


def onnx() -> str:
    """Return the execution provider that runs the landmark network; raise HandvizError if it does not open."""
    from handviz.detection.landmark_network import LandmarkNetwork

    return f"{LandmarkNetwork().provider} runs {LANDMARK_FILE.name}"


def changed_networks() -> str:
    """Return that the changed files among the shipped ones can be loaded; raise HandvizError if one cannot be."""
    from handviz.core.network_files import network_file
    from handviz.core.onnx_runtime import open_session
    from handviz.detection.detectors import make_detector
    from handviz.detection.landmark_network import LandmarkNetwork
    from handviz.detection.palm import PalmDetector
    from handviz.models.reconstructor import OnnxReconstructor
    from handviz.models.registry import shipped_models
    from handviz.models.trunk import Trunk

    loaders: dict[Path, Callable[[Path], object]] = {spec.file: OnnxReconstructor for spec in shipped_models()}
    loaders |= {LANDMARK_FILE: LandmarkNetwork, PALM_FILE: PalmDetector, MODELS / TRUNK_NAME: Trunk}
    loaders[MODELS / TEXTURE_NAME] = partial(open_session, how_to_get=RESTORE)
    loaders[LANDMARKER_FILE] = lambda path: make_detector(file=path, max_hands=1, video=False).close()
    for path, load in loaders.items():
        if path.is_file() and network_file(path).state == "changed":
            load(path)
    return "the changed files can be loaded"


PROBES: dict[str, Callable[[], str]] = {
    probe.__name__: probe for probe in (opengl, display, cameras, onnx, changed_networks)
}


def main(name: str) -> int:
    """Print what the probe found; on failure return 1 and print the reason as last line of stderr."""
    try:
        sys.stdout.write(f"{PROBES[name]()}\n")
    except (HandvizError, ImportError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
