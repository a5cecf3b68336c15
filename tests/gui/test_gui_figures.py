"""Images for papers: clipboard, resolution, background, crop, legends as vectors, turntables."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from gui_fakes import TRIANGLE, FakePipeline, FakeSource
from numpy.typing import NDArray
from PIL import Image
from PyQt6.QtGui import QGuiApplication, QImage
from PyQt6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from handviz.gui.main_window import MainWindow
from handviz.gui.record import figures
from handviz.gui.record.screenshot import SCREENSHOT_FOLDER
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import SettingsStore

pytestmark = pytest.mark.display


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> Iterator[MainWindow]:
    """Return a window that shows an image with a hand of three vertices in its centre."""
    opener = {"picture": FakeSource(1, names=True)}.__getitem__
    controller = Controller(FakePipeline, SettingsStore(), opener=opener, lister=list, fallback_clip=tmp_path / "none")
    controller.store.save_text(SCREENSHOT_FOLDER, str(tmp_path / "images"))
    made = MainWindow(controller, TRIANGLE)
    with qtbot.waitExposed(made):
        made.show()
    with qtbot.waitSignal(made.result_painted):
        controller.start("picture")
    yield made
    made.close()
    made.deleteLater()


def press(window: MainWindow, name: str) -> None:
    """Trigger an action by its key or the beginning of its text."""
    actions = window.actions()
    next(a for a in actions if name in [k.toString() for k in a.shortcuts()] or a.text().startswith(name)).trigger()


def copied(window: MainWindow) -> QImage:
    """Copy the image and return what is in the clipboard."""
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None
    clipboard.clear()
    press(window, "Ctrl+C")
    return clipboard.image()


def saved(window: MainWindow, folder: Path) -> NDArray[np.uint8]:
    """Save the image and return what is in the file."""
    before = set(folder.glob("*.png"))
    press(window, "Ctrl+S")
    (path,) = set(folder.glob("*.png")) - before
    assert path.name.startswith("handviz_0_final_"), "frame 0.jpg"
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), dtype=np.uint8)


def answer_dialog(monkeypatch: pytest.MonkeyPatch, path: Path, kind: str = "") -> list[str]:
    """Let the dialog for files return a path; returns the names that it begins with."""
    begun: list[str] = []

    def ask(*arguments: str) -> tuple[str, str]:
        begun.append(Path(arguments[2]).name)
        return str(path), kind

    monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
    return begun


def test_a_copied_image_has_no_bars_and_the_chosen_resolution(window: MainWindow) -> None:
    image = copied(window)
    view = window.viewport
    assert image.height() / image.width() == pytest.approx(48 / 64, abs=0.01)
    assert max(image.width() / view.width(), image.height() / view.height()) == pytest.approx(1, abs=0.01)
    assert image.pixelColor(3, image.height() // 2).getRgb()[:3] == (100, 100, 100)
    box = window.figures._controller.settings
    assert box.figure_scale == 1
    window._controller.change(figure_scale=4)
    large = copied(window)
    assert (large.width(), large.height()) == (4 * image.width(), 4 * image.height())
    assert "4 x" not in window.message.text()
    assert f"{large.width()} x {large.height()}" in window.message.text()


def test_the_panel_chooses_and_the_choice_is_saved(window: MainWindow) -> None:
    panel = next(part for part in window.features if hasattr(part, "_panel") and hasattr(part._panel, "resolution"))
    output = panel._panel
    output.resolution.setCurrentIndex(output.resolution.findData(2))
    output.background.setCurrentIndex(output.background.findData("white"))
    output.crop.click()
    loaded = SettingsStore().load()
    assert (loaded.figure_scale, loaded.figure_background, loaded.figure_crop) == (2, "white", True)


def test_hands_are_saved_on_white_or_on_nothing(window: MainWindow, tmp_path: Path) -> None:
    window._controller.change(colour="plain", figure_background="white")
    white = saved(window, tmp_path / "images")
    assert tuple(white[3, 3]) == (255, 255, 255)
    middle = white.shape[0] // 2, white.shape[1] // 2
    assert white[middle].min() < 240
    window._controller.change(figure_background="transparent")
    alone = saved(window, tmp_path / "images")
    assert (alone[3, 3, 3], alone[(*middle, 3)]) == (0, 255)


@pytest.mark.parametrize("view", ["overlay", "orbit"])
def test_an_image_is_cropped_to_the_hand(window: MainWindow, tmp_path: Path, view: str) -> None:
    window._controller.change(colour="plain", figure_background="transparent", view=view)
    whole = saved(window, tmp_path / "images")
    rows, columns = np.nonzero(whole[..., 3])
    window._controller.change(figure_crop=True)
    cropped = saved(window, tmp_path / "images")
    assert cropped.shape[0] < whole.shape[0]
    own_rows, own_columns = np.nonzero(cropped[..., 3])
    assert np.ptp(own_rows) == pytest.approx(np.ptp(rows), abs=2), "all of the hand"
    assert np.ptp(own_columns) == pytest.approx(np.ptp(columns), abs=2)
    assert min(own_rows.min(), own_columns.min()) > 5, "room around it"


@pytest.mark.parametrize(("kind", "suffix"), [("SVG (*.svg)", ".svg"), ("PDF (*.pdf)", ".pdf")])
def test_the_legend_is_saved_as_vectors(
    window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, suffix: str
) -> None:
    begun = answer_dialog(monkeypatch, tmp_path / "scale", kind)
    press(window, "Save legend")
    assert begun == ["handviz_0_final_uncertainty_legend"]
    content = (tmp_path / f"scale{suffix}").read_bytes()
    if suffix == ".svg":
        text = content.decode()
        assert "Std. dev., mm" in text
        assert "linearGradient" in text
        assert ">20<" in text.replace(" ", "").replace("\n", "")
    else:
        assert content.startswith(b"%PDF")
        assert b"/FunctionType" in content or b"/Shading" in content, "no bitmap"
    window._controller.change(colour="texture")
    window.viewport.grabFramebuffer()
    press(window, "Save legend")
    assert "no colour scale" in window.message.text()


@pytest.mark.parametrize(("suffix", "count"), [(".mp4", 8), (".gif", 4)])
def test_a_turntable_turns_once(
    qtbot: QtBot, window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, count: int
) -> None:
    monkeypatch.setattr(figures, "TURN_S", 8 / 30)
    window._controller.change(colour="plain", figure_background="white")
    path = tmp_path / f"turn{suffix}"
    answer_dialog(monkeypatch, path)
    with qtbot.waitSignal(window._controller.saved):
        press(window, "Save turntable")
    if suffix == ".gif":
        with Image.open(path) as animation:
            images = []
            for number in range(animation.n_frames):
                animation.seek(number)
                images.append(np.asarray(animation.convert("RGB")))
    else:
        clip = cv2.VideoCapture(str(path))
        images = [clip.read()[1] for _ in range(count)]
        assert not clip.read()[0]
        clip.release()
    widths = [int((image.min(axis=2) < 200).any(axis=0).sum()) for image in images]
    assert len(widths) == count
    assert widths[count // 4] < 0.3 * widths[0], "seen from its side"
    assert widths[count // 2] == pytest.approx(widths[0], rel=0.05), "and from behind"
