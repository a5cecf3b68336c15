"""The page of several views, driven through the window: panes, switches, playing, errors."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gui_fakes import TRIANGLE, FakePipeline, FakeSource, hand
from PyQt6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.multiview import LeftOutView, MultiViewHand
from handviz.core.paths import RIG_FILE
from handviz.core.records import Detection, Frame
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import SettingsStore
from handviz.gui.several_views.feature import SeveralViews
from handviz.gui.several_views.page import INVITATION, columns_of
from handviz.gui.several_views.player import OpenedRig
from handviz.pipeline.settings import PipelineConfig
from handviz.sources.rig_moments import Moment, MomentView
from tests.core.test_multiview import NAMES, camera

VIEWS = 3


class FakeRig:
    """Moments of three views, of a clip at 100 a second or of images; one view lacks the second moment."""

    name, is_clip = "rig", True

    def __init__(self, count: int = 4, *, views: int = VIEWS) -> None:
        self.count: int | None = count
        self.views = views
        self.is_closed = False

    def moments(self) -> Iterator[Moment]:
        """Yield the moments."""
        for number in range(self.count or 0):
            names = [at for at in range(self.views) if (number, at) != (1, 2)]
            left_out = () if len(names) == self.views else (LeftOutView(NAMES[2], "time", "it has no frame"),)
            yield Moment(number, tuple(self._view(at, number) for at in names), left_out, time_ms=10.0 * number)

    def _view(self, at: int, number: int) -> MomentView:
        image = np.full((480, 640, 3), 60 + 20 * at, np.uint8)
        return MomentView(NAMES[at], f"{number}.png", Frame(number, image, 0.0), camera(at))

    def close(self) -> None:
        """Record the call."""
        self.is_closed = True


class FakeMultiView:
    """Returns one hand of all views, as far away as there are views, and records the views' names."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []
        self.failure = ""
        self.is_closed = False

    def process(self, moment: Moment) -> list[MultiViewHand]:
        """Do as the real one."""
        if self.failure:
            raise HandvizError(self.failure, ErrorCode.NOT_FINITE)
        names = tuple(view.name for view in moment.views)
        self.seen.append(names)
        mesh = replace(
            hand("sima_mvr"), intrinsics=camera(0).intrinsics, vertex_std_mm=np.full(3, 12.0 / max(len(names), 1))
        )
        return [MultiViewHand(mesh, Detection("right", 0.9, mesh.keypoints_px), names)]

    def close(self) -> None:
        """Record the call."""
        self.is_closed = True


class Rigs:
    """Opens rigs by name, and remembers what it opened."""

    def __init__(self) -> None:
        self.source, self.pipeline = FakeRig(), FakeMultiView()
        self.opened: list[str] = []

    def __call__(self, text: str) -> OpenedRig:
        self.opened.append(text)
        if "broken" in text:
            raise HandvizError("broken.json is no rig: correct it", ErrorCode.BAD_VALUE)
        return OpenedRig(self.source, self.pipeline)


@pytest.fixture
def rigs() -> Rigs:
    return Rigs()


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, rigs: Rigs, monkeypatch: pytest.MonkeyPatch) -> Iterator[MainWindow]:
    """Make the real window, whose rigs are made up."""
    monkeypatch.setattr(SeveralViews.__init__, "__kwdefaults__", {"opener": rigs})
    controller = Controller(
        FakePipeline,
        SettingsStore(),
        opener={"clip": FakeSource(5, nominal_fps=10.0)}.__getitem__,
        lister=lambda: [],
        fallback_clip=tmp_path / "none.mp4",
        config=PipelineConfig(tmp_path),
    )
    made = MainWindow(controller, TRIANGLE)
    made.show()
    yield made
    made.close()
    made.deleteLater()


def press(window: MainWindow, key: str) -> None:
    """Trigger the action of a key."""
    next(a for a in window.actions() if key in [k.toString() for k in a.shortcuts()]).trigger()


def open_paused(qtbot: QtBot, window: MainWindow, moment: int = 0) -> None:
    """Open the rig, and pause it at a moment."""
    page = window.several_views.page
    window.several_views.open("some/rig.json")
    qtbot.waitUntil(lambda: bool(page.panes))
    window.several_views.player.set_playing(False)
    qtbot.waitUntil(lambda: page.play.text() == "Play")
    window.several_views.player.restart()
    for _ in range(moment + 1):
        with qtbot.waitSignal(window.several_views.player.answered):
            page.step.click()
    qtbot.waitUntil(lambda: page.numbers.text().startswith(f"moment {moment + 1} /"))


def test_a_rig_has_a_pane_for_each_view_with_the_hand_in_it(qtbot: QtBot, window: MainWindow, rigs: Rigs) -> None:
    page = window.several_views.page
    press(window, "F4")
    assert page.invitation.isVisible()
    assert page.invitation.text() == INVITATION
    assert not page.step.isEnabled()
    open_paused(qtbot, window)
    assert list(page.panes) == list(NAMES[:VIEWS])
    assert not page.invitation.isVisible()
    for pane in page.panes.values():
        assert pane.isVisible()
        assert pane.viewport._result is not None
        assert len(pane.viewport._result.hands) == 1
    assert page.title.text() == "rig.json  ·  3 views"
    assert "right hand of 3 views, std. dev. mean 4.0 mm" in page.numbers.text()
    assert window.several_views.is_in_front


def test_the_hand_lies_where_its_camera_sees_it(qtbot: QtBot, window: MainWindow) -> None:
    open_paused(qtbot, window)
    panes = window.several_views.page.panes.values()
    first, *others = (pane.viewport._result.hands[0] for pane in panes)
    in_world = [
        camera(at).camera_from_world[:3, :3].T
        @ (one.vertices_m + one.wrist_camera_m - camera(at).camera_from_world[:3, 3]).T
        for at, one in enumerate((first, *others))
    ]
    for points in in_world[1:]:
        np.testing.assert_allclose(points, in_world[0], atol=1e-9)
    assert [one.intrinsics for one in others] == [camera(1).intrinsics, camera(2).intrinsics]


def test_views_are_switched_off_one_by_one_and_the_paused_moment_reacts(
    qtbot: QtBot, window: MainWindow, rigs: Rigs
) -> None:
    open_paused(qtbot, window)
    page = window.several_views.page
    for name, text in ((NAMES[1], "2 views, std. dev. mean 6.0 mm"), (NAMES[0], "1 view, std. dev. mean 12.0 mm")):
        page.panes[name].switch.click()
        qtbot.waitUntil(lambda text=text: text in page.numbers.text())
        assert page.panes[name].note.text() == "switched off"
        # It still shows the hand of the others.
        assert len(page.panes[name].viewport._result.hands) == 1
    assert rigs.pipeline.seen[-1] == (NAMES[2],)
    page.panes[NAMES[2]].switch.click()
    assert page.panes[NAMES[2]].switch.isChecked(), "the last view stays on"
    page.panes[NAMES[0]].switch.click()
    qtbot.waitUntil(lambda: "2 views" in page.numbers.text())
    assert rigs.pipeline.seen[-1] == (NAMES[0], NAMES[2])


def test_a_view_without_a_frame_says_so(qtbot: QtBot, window: MainWindow) -> None:
    open_paused(qtbot, window, moment=1)
    pane = window.several_views.page.panes[NAMES[2]]
    assert pane.note.text() == "it has no frame"
    assert pane.viewport._result is None


def test_playing_goes_round_and_stops_behind_another_page(qtbot: QtBot, window: MainWindow) -> None:
    views = window.several_views
    numbers: list[int] = []
    views.player.answered.connect(lambda answer: numbers.append(answer.moment.number))
    views.open("some/rig.json")
    qtbot.waitUntil(lambda: len(numbers) > 5)
    assert numbers[:6] == [0, 1, 2, 3, 0, 1]
    press(window, "F2")
    qtbot.waitUntil(lambda: views.page.play.text() == "Play")
    press(window, "F4")
    qtbot.waitUntil(lambda: views.page.play.text() == "Pause")
    views.page.play.click()
    qtbot.waitUntil(lambda: views.page.play.text() == "Play")
    views.page.restart.click()
    with qtbot.waitSignal(views.player.answered):
        views.page.step.click()
    qtbot.waitUntil(lambda: numbers[-1] == 0)


def test_a_file_that_is_no_rig_is_named_and_another_one_opens(qtbot: QtBot, window: MainWindow, rigs: Rigs) -> None:
    page = window.several_views.page
    window.several_views.open("broken.json")
    qtbot.waitUntil(lambda: "broken.json is no rig" in page.banner.text())
    assert page.banner.isVisible()
    open_paused(qtbot, window)
    assert not page.banner.isVisible()


def test_a_moment_that_fails_pauses_with_its_message(qtbot: QtBot, window: MainWindow, rigs: Rigs) -> None:
    rigs.pipeline.failure = "sima_mvr gave vertices that are not finite"
    window.several_views.open("some/rig.json")
    qtbot.waitUntil(lambda: "not finite" in window.several_views.page.banner.text())
    assert window.several_views.page.play.text() == "Play"


def test_an_empty_rig_is_named(qtbot: QtBot, window: MainWindow, rigs: Rigs) -> None:
    rigs.source = FakeRig(0)
    window.several_views.open("some/rig.json")
    qtbot.waitUntil(lambda: "no moments" in window.several_views.page.banner.text())


def test_the_dialog_opens_what_is_chosen_and_the_rig_is_closed_at_the_end(
    qtbot: QtBot, window: MainWindow, rigs: Rigs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("/there/RIG.json", ""))
    window.several_views.page.open.click()
    qtbot.waitUntil(lambda: bool(window.several_views.page.panes))
    assert rigs.opened == ["/there/RIG.json"]
    window.close()
    assert rigs.source.is_closed
    assert rigs.pipeline.is_closed


def test_the_sample_rig_is_a_click_away(qtbot: QtBot, window: MainWindow, rigs: Rigs) -> None:
    window.several_views.page.sample.click()
    qtbot.waitUntil(lambda: bool(window.several_views.page.panes))
    assert rigs.opened == [str(RIG_FILE)]


@pytest.mark.parametrize(
    ("count", "size", "columns"),
    [
        (1, (1200, 600), 1),
        (2, (1200, 600), 2),
        (3, (1200, 600), 3),
        (4, (1200, 900), 2),
        (3, (500, 900), 1),
        (8, (1200, 600), 4),
    ],
)
def test_panes_stand_where_their_images_are_largest(count: int, size: tuple[int, int], columns: int) -> None:
    assert columns_of(count, *size) == columns


def test_one_legend_stands_for_all_panes(qtbot: QtBot, window: MainWindow) -> None:
    open_paused(qtbot, window)
    legends = [pane.viewport.options.legend for pane in window.several_views.page.panes.values()]
    assert legends == [True, False, False]


def test_settings_of_the_colours_reach_all_panes(qtbot: QtBot, window: MainWindow) -> None:
    open_paused(qtbot, window)
    panes: Sequence = list(window.several_views.page.panes.values())
    window._controller.change(shown_colour="plain")
    assert {pane.viewport.options.colour for pane in panes} == {"plain"}
