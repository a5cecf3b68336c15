"""Program with the window: command line, start and end.

The networks' libraries are loaded in the worker, after the window is shown.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Literal

from PyQt6.QtCore import Qt, QTimer
from PyQt6.QtGui import QSurfaceFormat
from PyQt6.QtWidgets import QApplication

from handviz.core.arguments import Count, HandModelFile, ModelFolder, Option
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.options import parsed
from handviz.core.output import VERBOSE, VERBOSE_HELP, open_closed_streams, silence_libraries
from handviz.core.paths import MODELS
from handviz.core.process import return_large_blocks
from handviz.core.records import ModelId
from handviz.core.termination import INTERRUPTED_STATUS, TERMINATIONS
from handviz.detection.detectors import DetectorOption
from handviz.gui.main_window import MainWindow
from handviz.gui.record.screenshot import save_image
from handviz.gui.session.controller import Controller
from handviz.gui.session.reconstruct_thread import PipelineLike, PipelineMaker
from handviz.gui.session.settings import SettingsStore
from handviz.gui.widgets.log_window import LogBuffer
from handviz.gui.widgets.shortcuts import FocusKeyFilter
from handviz.gui.widgets.theme import Theme
from handviz.hand_models.choice import hand_model_for
from handviz.models.registry import model_ids
from handviz.pipeline.display import model_display
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.rendering.options import ColourMode
from handviz.sources.source import Source, open_source

RIG_SUFFIX = ".json"
SCREENSHOT_TIMEOUT_MS = 60_000
SWITCH_INTERVAL_S = 0.001
"""How long a thread in Python may block the others; the default of 5 ms adds up in a paint of fifty calls."""
DISPLAY_VARIABLES = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
OPENCV_QT_VARIABLES = ("QT_QPA_PLATFORM_PLUGIN_PATH", "QT_QPA_FONTDIR")
logger = logging.getLogger("handviz")


def _ignore_stage(stage: str) -> None:
    """Ignore a stage of the start."""


@dataclass(frozen=True)
class Instruments:
    """Hooks of a program that runs the window for its own purpose, such as measuring."""

    watch: Callable[[MainWindow, Controller], object] | None = None
    """Called before the window is shown; the result lives as long as the window, which it closes."""
    on_stage: Callable[[str], None] = _ignore_stage
    """Called at each stage of the start, also in the reconstruction thread"""
    settings_folder: Path | None = None
    """Folder of the settings instead of the user's own"""
    opener: Callable[..., Source] = open_source
    """Opens sources, in the capture thread"""


NO_INSTRUMENTS = Instruments()


@dataclass(frozen=True, kw_only=True)
class WindowArguments:
    """Options of the window."""

    file: Annotated[str | None, Option(is_positional=True, metavar="FILE")] = None
    """A clip, a folder of images, an image, or the RIG.json of several cameras."""
    source: str | None = None
    """The same, or camera:0."""
    model: Annotated[ModelId | None, Option("model", choices=model_ids)] = None
    """The model to begin with."""
    colour: ColourMode | None = None
    """How the mesh is coloured."""
    view: Literal["overlay", "orbit"] | None = None
    """On the image, or in free orbit."""
    detector: DetectorOption = "handviz"
    model_dir: ModelFolder = MODELS
    hand_model: HandModelFile = None
    screenshot: Annotated[Path | None, Option(metavar="FILE")] = None
    """Save an image of the window and quit."""
    screenshot_after: Count = 30
    """Results to show before that."""


def parse(arguments: list[str]) -> WindowArguments:
    """Return the options of a command line; without any, the parser is not loaded."""
    if not arguments:
        return WindowArguments()
    description = f"Reconstruct the hands of a camera, clip or folder.\n\n{VERBOSE_HELP}"
    return parsed(WindowArguments, "app.py", description, arguments)


def settings_for_this_run(options: WindowArguments) -> dict[str, str]:
    """Return the settings of the command line, for this run only."""
    named = {name: getattr(options, name) for name in ("model", "colour", "view")}
    return {name: value for name, value in named.items() if value is not None}


def pipeline_maker(config: PipelineConfig, on_stage: Callable[[str], None] = _ignore_stage) -> PipelineMaker:
    """Return the function that makes pipelines in the worker, where it loads the networks' libraries."""

    def make(settings: PipelineSettings) -> PipelineLike:
        on_stage("worker begins to load")
        from handviz.core.onnx_runtime import spare_cores
        from handviz.pipeline.pipeline import Pipeline

        spare_cores()
        pipeline = Pipeline(settings, config)
        on_stage("networks loaded")
        return pipeline

    return make


def make_application(arguments: list[str]) -> QApplication:
    """Return Qt's application, with OpenGL 3.3 core and these Qt options."""
    # Importing OpenCV points Qt at OpenCV's plugins instead of PyQt6's.
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


def unexpected_error_reporter(
    controller: Controller,
) -> Callable[[type[BaseException], BaseException, TracebackType | None], None]:
    """Return a ``sys.excepthook`` that logs and shows the error; without one PyQt ends the process."""

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        logger.critical("Unexpected error", exc_info=(kind, error, trace))
        controller.notify(f"Unexpected error ({kind.__name__}: {error}); details are in the log.")

    return report


class ScreenshotAfter:
    """Saver of the whole window after a number of results, or a minute; closes the window."""

    def __init__(self, window: MainWindow, path: Path, count: int) -> None:
        self._window, self._path, self._left = window, path, count
        self.has_failed = True
        window.result_painted.connect(self._count)
        self._timer = QTimer(window)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._save)
        self._timer.start(SCREENSHOT_TIMEOUT_MS)

    def _count(self, _: object) -> None:
        self._left -= 1
        if self._left == 0:
            # After the paint, when the performance values are shown.
            self._timer.start(300)

    def _save(self) -> None:
        self._window.view_panel.numbers.refresh()
        try:
            save_image(self._window.grab().toImage(), self._path)
            self.has_failed = self._left > 0
            logger.info("Saved %s", self._path)
        except HandvizError as error:
            logger.error("%s", error)
        self._window.close()


@contextmanager
def _attached(application: QApplication) -> Iterator[LogBuffer]:
    """Attach the log handler and the key filter, and detach them at the end."""
    log_buffer, key_filter = LogBuffer(), FocusKeyFilter()
    logging.getLogger().addHandler(log_buffer)
    application.installEventFilter(key_filter)
    try:
        yield log_buffer
    finally:
        logging.getLogger().removeHandler(log_buffer)
        application.removeEventFilter(key_filter)


def make_controller(options: WindowArguments, instruments: Instruments = NO_INSTRUMENTS) -> Controller:
    """Return the controller of a run with these options."""
    config = PipelineConfig(options.model_dir, options.hand_model, detector=options.detector, search_beside=True)
    return Controller(
        pipeline_maker(config, instruments.on_stage),
        SettingsStore(instruments.settings_folder),
        opener=instruments.opener,
        for_this_run=settings_for_this_run(options),
        config=config,
    )


def has_display() -> bool:
    """Return whether there is a screen to show a window on."""
    return not sys.platform.startswith("linux") or any(map(os.environ.get, DISPLAY_VARIABLES))


def check_display() -> None:
    """Raise HandvizError where Linux has no display: Qt would end the process with a page of its own."""
    if not has_display():
        raise HandvizError(
            "there is no display to show a window on; without one use: handviz reconstruct INPUT --out OUT",
            ErrorCode.NO_DISPLAY,
        )


def run(options: WindowArguments, instruments: Instruments = NO_INSTRUMENTS) -> int:
    """Show the window until it is closed and return the exit status; HandvizError without display or hand model."""
    check_display()
    return_large_blocks()
    instruments.on_stage("interpreter and imports")
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    application = make_application([])
    instruments.on_stage("Qt application")
    theme = Theme(application)
    with _attached(application) as log_buffer:
        display = model_display(hand_model_for(options.hand_model, options.model_dir))
        controller = make_controller(options, instruments)
        theme.choose(controller.settings.theme)
        controller.settings_changed.connect(lambda settings: theme.choose(settings.theme))
        window = MainWindow(controller, display, log_buffer)
        return _show(application, window, controller, options, instruments)


def begin(window: MainWindow, controller: Controller, source: str | None) -> None:
    """Open what the command line names: a rig on its own page, anything else on the page "Live"."""
    is_rig = source is not None and source.lower().endswith(RIG_SUFFIX)
    controller.start(None if is_rig else source)
    if is_rig and source is not None:
        window.several_views.open(source)


def _show(
    application: QApplication,
    window: MainWindow,
    controller: Controller,
    options: WindowArguments,
    instruments: Instruments,
) -> int:
    """Show this window until it is closed; return the exit status."""
    saver = None
    if options.screenshot is not None:
        saver = ScreenshotAfter(window, options.screenshot, options.screenshot_after)
    watcher = instruments.watch(window, controller) if instruments.watch is not None else None
    sys.excepthook = unexpected_error_reporter(controller)
    # Python sees signals when the window's next timer calls it.
    for number in (signal.SIGINT, *TERMINATIONS):
        signal.signal(number, lambda *_: window.close())
    window.show()
    instruments.on_stage("window shown")
    if saver is watcher is None:
        window.welcome_once()
    begin(window, controller, options.source or options.file)
    status = application.exec()
    return 1 if saver is not None and saver.has_failed else status


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    open_closed_streams()
    if VERBOSE not in words:
        silence_libraries()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        return run(parse([word for word in words if word != VERBOSE]))
    except HandvizError as error:
        logger.error("%s", error)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED_STATUS
