"""Take the images of the user's guide from the running window.

Each scene does what a person would do, and says when to look.
"""

import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TypeVar

from PIL import Image
from PyQt6.QtWidgets import QDialog, QScrollArea, QWidget

import tools
from handviz.core.arguments import Positional
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import open_atomic
from handviz.core.paths import CLIP_FILE
from handviz.gui import app
from handviz.gui.inspector.hand_actions import HandActions
from handviz.gui.inspector.point_inspector import PointInspector
from handviz.gui.main_window import MainWindow
from handviz.gui.record.recording import RECORDING_FOLDER, Recorder
from handviz.gui.session.controller import Controller
from handviz.gui.widgets.shortcuts import Feature, ShortcutWindow
from handviz.rendering.camera import OrbitCamera
from handviz.rendering.highlight import Pick
from handviz.rendering.options import RESULT_STEP, DrawOptions
from handviz.sources.source import open_source
from tools.photographer import Photographer, Ready, Scene, Script, Stage

GOOD_FRAME, MOVING_FRAME = 62, 150
IMAGES_OF_CLIP, RECORDED_RESULTS = 18, 40
AnyFeature = TypeVar("AnyFeature", bound=Feature)


def feature(stage: Stage, kind: type[AnyFeature]) -> AnyFeature:
    """Return the window's feature of this kind."""
    return next(part for part in stage.window.features if isinstance(part, kind))


def _paused(stage: Stage, number: int = GOOD_FRAME) -> Generator[Ready, None, None]:
    """Pause the clip at a frame; it is shown twice because networks warm up at the first."""
    if stage.controller.source is None:
        yield lambda: stage.controller.source is not None
    if stage.controller.is_playing:
        stage.controller.toggle_playing()
        yield lambda: not stage.controller.is_playing
    stage.controller.seek(number - 1)
    yield stage.shows(number - 1)
    stage.controller.seek(number)
    yield stage.shows(number)


def overview(stage: Stage) -> Script:
    """Show the window as it opens."""
    yield from _paused(stage)
    return stage.window


def welcome(stage: Stage) -> Script:
    """Show the panel of the first start."""
    stage.window.welcome.appear()
    yield lambda: stage.window.welcome.isVisible()
    return stage.window


def orbit(stage: Stage) -> Script:
    """Show the hand's own skin from the side."""
    stage.window.welcome.hide()
    stage.controller.change(colour="texture", view="orbit")
    yield stage.new_results()
    stage.window.viewport.set_orbit(OrbitCamera().dragged(-110, 40))
    yield lambda: True
    return stage.window


def compare(stage: Stage) -> Script:
    """Show four models side by side, one of them without uncertainty."""
    compared = ("prior", "amvur", "final", "mediapipe")
    stage.controller.change(colour="uncertainty", view="overlay", compare=True, compared=compared)
    yield stage.new_results()
    return stage.window


def difference(stage: Stage) -> Script:
    """Show the distances of two models."""
    stage.controller.change(compare=False, difference=True, difference_pair=("mediapipe", "final"))
    yield stage.new_results()
    return stage.window


def uncertainty(stage: Stage) -> Script:
    """Show faded regions and ellipses."""
    stage.controller.change(difference=False, uncertain="fade", ellipses=True)
    yield stage.new_results()
    return stage.window


def ghosts(stage: Stage) -> Script:
    """Show hands drawn from the posterior."""
    stage.controller.change(uncertain="show", ellipses=False, samples="ghosts", view="orbit")
    stage.window.viewport.set_orbit(OrbitCamera().dragged(-110, 40))
    yield lambda: True
    return stage.window


def heatmaps(stage: Stage) -> Script:
    """Show HAMR's heatmaps over the image, and its hand after the first iteration."""
    stage.controller.change(samples="none", view="overlay", heatmaps="all", iteration=1, opacity=0.4, model="hamr")
    yield stage.new_results()
    return stage.window


def attention(stage: Stage) -> Script:
    """Show a picked point and its attention."""
    stage.controller.change(heatmaps="none", iteration=RESULT_STEP, opacity=DrawOptions().opacity, model="final")
    yield stage.new_results()
    stage.controller.change(attention=True)
    inspector = feature(stage, PointInspector)
    inspector.pick(Pick(hand=0, vertex=None, joint=8))
    yield lambda: inspector.has_attention
    return stage.window


def hands(stage: Stage) -> Script:
    """Show the labels of two hands, one of which was taken for the wrong side and is given the other."""
    stage.controller.change(attention=False)
    yield from _paused(stage, MOVING_FRAME)
    feature(stage, PointInspector).pick(Pick(hand=0, vertex=None, joint=8))
    stage.press("X")
    yield stage.new_results()
    hide = feature(stage, HandActions).hide
    _panel_of(hide).ensureWidgetVisible(hide)
    return stage.window


def camera(stage: Stage) -> Script:
    """Show the camera's intrinsics."""
    stage.press("X")
    yield stage.new_results()
    feature(stage, PointInspector).deselect()
    panel = _panel_of(feature(stage, HandActions).hide)
    panel.ensureVisible(0, 0)
    yield from _paused(stage)
    stage.press("Ctrl+L")
    yield lambda: _open_dialog(stage) is not None
    dialog = _open_dialog(stage)
    assert dialog is not None
    return dialog


def recording(stage: Stage) -> Script:
    """Show a recording in progress."""
    _close_dialogs(stage)
    recorder, store = feature(stage, Recorder), stage.controller.store
    store.save_text(RECORDING_FOLDER, str(store.path.parent))
    stage.controller.toggle_playing()
    yield stage.new_results()
    recorder.toggle()
    yield stage.new_results(RECORDED_RESULTS)
    stage.controller.notify("")
    return stage.window


def light(stage: Stage) -> Script:
    """Show the light theme."""
    recorder = feature(stage, Recorder)
    recorder.toggle()
    yield lambda: stage.window.message.text().startswith("Recorded ")
    stage.controller.notify("")
    stage.controller.change(theme="light")
    yield from _paused(stage, MOVING_FRAME)
    return stage.window


def keys(stage: Stage) -> Script:
    """Show the list of keys."""
    stage.controller.change(theme="dark")
    stage.press("F1")
    yield lambda: bool(stage.window.findChildren(ShortcutWindow))
    return stage.window.findChildren(ShortcutWindow)[0]


def folder(stage: Stage) -> Script:
    """Show an inspected folder of images from the clip, the most uncertain first."""
    _close_dialogs(stage)
    inspection = stage.window.inspection
    inspection.inspect(str(_folder_of_images()))
    yield lambda: len(inspection.page.model.rows) >= IMAGES_OF_CLIP and not inspection.is_running
    inspection.page.show_worst_first()
    inspection.page.select_row(0)
    yield lambda: inspection.page.chosen is not None
    return stage.window


def _folder_of_images() -> Path:
    # Of its own for this run: in a shared temporary folder anyone could have made one of a fixed name.
    place = Path(mkdtemp(prefix="handviz-guide-"))
    source = open_source(str(CLIP_FILE))
    try:
        count = source.frame_count or 1
        for number in range(0, count, max(count // IMAGES_OF_CLIP, 1)):
            source.seek(number)
            frame = source.read()
            if frame is not None:
                with open_atomic(place / f"clip_{number:03d}.jpg") as file:
                    Image.fromarray(frame.image).save(file, "JPEG", quality=92)
    except OSError as error:
        raise HandvizError(f"{place} cannot be written: {error}", ErrorCode.NOT_WRITABLE) from error
    finally:
        source.close()
    return place


def _panel_of(widget: QWidget) -> QScrollArea:
    above = widget.parentWidget()
    while not isinstance(above, QScrollArea):
        assert above is not None
        above = above.parentWidget()
    return above


def _open_dialog(stage: Stage) -> QDialog | None:
    return next((dialog for dialog in _dialogs(stage.window) if dialog.isVisible()), None)


def _close_dialogs(stage: Stage) -> None:
    for dialog in _dialogs(stage.window):
        dialog.close()


def _dialogs(window: QWidget) -> list[QDialog]:
    return window.findChildren(QDialog)


SCENES = tuple(
    Scene(play.__name__, play)
    for play in (
        overview,
        welcome,
        orbit,
        compare,
        difference,
        uncertainty,
        ghosts,
        heatmaps,
        attention,
        hands,
        camera,
        recording,
        light,
        keys,
        folder,
    )
)


OF_CLIP = app.WindowArguments(source=str(CLIP_FILE))


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Where the images go, and the options of the window."""

    folder: Positional[Path]
    """Folder of the images, such as docs/guide."""
    window: app.WindowArguments = OF_CLIP


def run(arguments: Arguments) -> int:
    """Run the window, play every scene, save its image; return 1 if one failed."""
    photographers: list[Photographer] = []

    def watch(window: MainWindow, _: Controller) -> Photographer:
        photographers.append(Photographer(window, arguments.folder, SCENES))
        return photographers[0]

    with TemporaryDirectory(prefix="handviz-settings-") as folder:
        status = app.run(arguments.window, app.Instruments(watch=watch, settings_folder=Path(folder)))
    return 1 if photographers[0].failures else status


if __name__ == "__main__":
    sys.exit(tools.run("guide_images"))
