"""The window: ``python app.py [--source camera:0 | clip.mp4 | folder/] [--variant final]``."""

import argparse
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import get_args

from PyQt6.QtCore import Qt, QTimer
from PyQt6.QtGui import QSurfaceFormat
from PyQt6.QtWidgets import QApplication

from handviz.core.errors import HandvizError
from handviz.core.memory import return_large_blocks
from handviz.core.paths import CLIP_FILE, MODELS
from handviz.core.records import VARIANTS
from handviz.gui.main_window import MainWindow
from handviz.gui.record.screenshot import save_picture
from handviz.gui.session.controller import Controller
from handviz.gui.session.give_way import SWITCH_INTERVAL_S
from handviz.gui.session.reconstruct_thread import PipelineLike, PipelineMaker
from handviz.gui.session.settings import SettingsStore, ViewSettings
from handviz.gui.widgets.log_window import LogKeeper
from handviz.gui.widgets.shortcuts import KeyboardManners
from handviz.gui.widgets.theme import Theme
from handviz.hand_models.choice import add_hand_model_option, display_mesh, hand_model_for
from handviz.rendering.options import ColourMode
from tools import measure, measure_start
from tools.guide_pictures import Photographer
from tools.guide_scenes import SCENES
from tools.measure import Measurement

MOST_HANDS = 2
STARTS = 5
SCREENSHOT_PATIENCE_MS = 60_000
OPENCV_QT_VARIABLES = ("QT_QPA_PLATFORM_PLUGIN_PATH", "QT_QPA_FONTDIR")
logger = logging.getLogger("handviz")


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="app.py", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--source", help="camera:0, a clip, a folder of pictures or a picture")
    parser.add_argument("--variant", choices=VARIANTS, help="the network to begin with")
    parser.add_argument("--colour", choices=get_args(ColourMode), help="how the mesh is coloured")
    parser.add_argument("--view", choices=("overlay", "orbit"), help="on the picture, or in free orbit")
    parser.add_argument("--model-dir", type=Path, default=MODELS, help="folder of the ONNX files")
    add_hand_model_option(parser)
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="save a picture of the window and quit")
    parser.add_argument(
        "--screenshot-after", type=int, default=30, metavar="N", help="results to show before that (30)"
    )
    parser.add_argument("--guide-pictures", type=Path, metavar="DIR", help="take the pictures of the guide and quit")
    parser.add_argument("--measure", choices=get_args(Measurement), help="print figures of this machine and quit")
    parser.add_argument("--minutes", type=float, metavar="N", help="length of a measurement (latency 1, soak 30)")
    return parser.parse_args(arguments)


def settings_for_this_run(options: argparse.Namespace) -> dict[str, str]:
    """Settings that the command line names; they hold for this run only."""
    named = {name: getattr(options, name) for name in ("variant", "colour", "view")}
    return {name: value for name, value in named.items() if value is not None}


def pipeline_maker(model_dir: Path, hand_model: Path | None = None) -> PipelineMaker:
    """Makes pipelines in the worker; the networks' libraries are loaded there, while the window is already up."""

    def make(settings: ViewSettings) -> PipelineLike:
        from handviz.pipeline.pipeline import Pipeline, PipelineSettings

        return Pipeline(
            PipelineSettings(
                model_dir=model_dir,
                variant=settings.variant,
                lens=settings.lens,
                hand_size=settings.hand_size,
                smoothing=settings.smoothing,
                smoothing_kind=settings.smoothing_kind,
                max_hands=MOST_HANDS,
                side=settings.side,
                texture=settings.wants_texture,
                compare=settings.wants_others,
                hand_model=hand_model,
            )
        )

    return make


def make_application(arguments: list[str]) -> QApplication:
    """Qt with OpenGL 3.3 core."""
    # Importing OpenCV points Qt at OpenCV's own plugins; PyQt6 has the right ones.
    for variable in OPENCV_QT_VARIABLES:
        os.environ.pop(variable, None)
    surface_format = QSurfaceFormat()
    surface_format.setVersion(3, 3)
    surface_format.setProfile(QSurfaceFormat.OpenGLContextProfile.CoreProfile)
    surface_format.setDepthBufferSize(24)
    QSurfaceFormat.setDefaultFormat(surface_format)
    QApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)
    application = QApplication(["handviz", *arguments])
    application.setApplicationName("handviz")
    return application


def measured_starts(arguments: list[str]) -> int:
    """Start the program some times and print how long its stages take; returns the exit status."""
    try:
        measure_start.measure_starts([str(Path(__file__).resolve()), *arguments], STARTS, logger.info)
    except HandvizError as error:
        logger.error("%s", error)
        return 1
    return 0


def unexpected_error_reporter(
    controller: Controller,
) -> Callable[[type[BaseException], BaseException, TracebackType | None], None]:
    """For ``sys.excepthook``: a log entry and a sentence; without one PyQt ends the process at such an error."""

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        logger.critical("unexpected error", exc_info=(kind, error, trace))
        controller.say(f"Something failed unexpectedly ({kind.__name__}: {error}); the log says where.")

    return report


class ScreenshotAfter:
    """Counts results on the screen, then saves the whole window and closes it; after a minute it waits no longer."""

    def __init__(self, window: MainWindow, path: Path, count: int) -> None:
        self._window, self._path, self._left = window, path, count
        self.has_failed = True
        window.result_painted.connect(self._count)
        self._timer = QTimer(window)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._save)
        self._timer.start(SCREENSHOT_PATIENCE_MS)

    def _count(self, _: object) -> None:
        self._left -= 1
        if self._left == 0:
            # Not inside the paint, and after the numbers have been written.
            self._timer.start(300)

    def _save(self) -> None:
        self._window.view_panel.numbers.refresh()
        try:
            save_picture(self._window.grab().toImage(), self._path)
            self.has_failed = self._left > 0
            logger.info("saved %s", self._path)
        except HandvizError as error:
            logger.error("%s", error)
        self._window.close()


def main(arguments: list[str]) -> int:
    """Run the program; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    options = parse(arguments)
    return_large_blocks()
    if options.measure == "startup" and measure_start.STARTED_VARIABLE not in os.environ:
        return measured_starts(arguments)
    measure_start.note("interpreter and imports")
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    log_keeper = LogKeeper()
    logging.getLogger().addHandler(log_keeper)
    application = make_application(arguments)
    measure_start.note("Qt application")
    theme, manners = Theme(application), KeyboardManners()
    application.installEventFilter(manners)
    try:
        surface = display_mesh(hand_model_for(options.hand_model, options.model_dir))
    except HandvizError as error:
        logger.error("%s", error)
        return 1
    maker = measure.watched_maker(pipeline_maker(options.model_dir, options.hand_model))
    is_for_itself = options.measure or options.guide_pictures
    own_settings = tempfile.TemporaryDirectory(prefix="handviz-settings-") if is_for_itself else None
    store = SettingsStore(Path(own_settings.name) if own_settings else None)
    controller = Controller(maker, store, for_this_run=settings_for_this_run(options), model_dir=options.model_dir)
    theme.choose(controller.settings.theme)
    controller.settings_changed.connect(lambda settings: theme.choose(settings.theme))
    window = MainWindow(controller, surface, log_keeper)
    saver = None
    if options.screenshot is not None:
        saver = ScreenshotAfter(window, options.screenshot, max(options.screenshot_after, 1))
    photographer = Photographer(window, options.guide_pictures, SCENES) if options.guide_pictures else None
    measurement = options.measure and measure.begin(options.measure, window, controller, options.minutes)
    sys.excepthook = unexpected_error_reporter(controller)
    # Python sees Ctrl+C when the window's next timer calls it.
    signal.signal(signal.SIGINT, lambda *_: window.close())
    window.show()
    measure_start.note("window shown")
    if saver is photographer is measurement is None:
        window.welcome_once()
    controller.start(str(CLIP_FILE) if options.guide_pictures else options.source)
    status = application.exec()
    logging.getLogger().removeHandler(log_keeper)
    application.removeEventFilter(manners)
    if own_settings is not None:
        own_settings.cleanup()
    has_failed = (saver is not None and saver.has_failed) or (photographer is not None and photographer.failures)
    return 1 if has_failed else status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
