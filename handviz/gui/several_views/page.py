"""Widgets of the page: a pane for each view with a switch, and the controls of the rig above and below."""

from collections.abc import Sequence
from dataclasses import replace

from PyQt6.QtCore import QSize, Qt, pyqtSignal
from PyQt6.QtGui import QDragEnterEvent, QDropEvent, QResizeEvent
from PyQt6.QtWidgets import QCheckBox, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from handviz.core.records import FrameResult
from handviz.gui.several_views.player import MomentAnswer
from handviz.gui.view.viewport import Viewport
from handviz.gui.widgets.controls import ElidedLabel, check_box, check_quietly, named_label, push_button, row_of
from handviz.gui.widgets.dropping import dropped_paths, welcome
from handviz.rendering.hand_shape import ModelDisplay
from handviz.rendering.options import DrawOptions

INVITATION = (
    "Open a rig, that is two to eight calibrated cameras that see the same hands at the same time, or the sample"
)
SMALLEST_PANE = QSize(160, 120)
USUAL_ASPECT, HEAD_PX = 4 / 3, 26
"""Of the images, and the height of what is above them in a pane."""
CONTROLS_PX = 90
"""Height of what is above and below the panes."""


class ViewPane(QWidget):
    """One view: its image with the hand that all views determine, and a switch."""

    def __init__(self, name: str, display: ModelDisplay) -> None:
        super().__init__()
        self.name = name
        self.switch: QCheckBox = check_box(name, "Reconstruct the hand from this view too")
        self.switch.setChecked(True)
        self.note = ElidedLabel()
        self.result: FrameResult | None = None
        self.viewport = Viewport(display)
        self.viewport.setMinimumSize(SMALLEST_PANE)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        head = QHBoxLayout()
        head.setContentsMargins(6, 2, 6, 0)
        head.addWidget(self.switch)
        head.addSpacing(8)
        head.addWidget(self.note, 1)
        column.addLayout(head)
        column.addWidget(self.viewport, 1)

    def show_result(self, result: FrameResult | None, note: str) -> None:
        """Draw a view's image and hands; ``note`` says why the view was not used."""
        self.result = result
        self.viewport.show_result(result)
        self.note.setText(note)


class SeveralViewsPage(QWidget):
    """The page; the feature connects it."""

    file_dropped = pyqtSignal(str)
    views_changed = pyqtSignal(object)
    """Names of the views that are switched off, a frozenset"""

    def __init__(self, display: ModelDisplay, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._display = display
        self._options = DrawOptions()
        self.panes: dict[str, ViewPane] = {}
        self.setAcceptDrops(True)
        self.open = push_button("Open rig…", "Open RIG.json: calibrated cameras and their clips or folders")
        self.sample = push_button("Sample", "Open the bundled rig: three cameras and a hand, all rendered")
        self.title = ElidedLabel()
        self.invitation = named_label("invitation", INVITATION, wraps=True)
        self.invitation.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.banner = named_label("banner", wraps=True)
        self.banner.hide()
        self.play = push_button("Pause", "Play or pause the rig (Space)")
        self.step = push_button("Next", "Pause, and show the next moment (Right)")
        self.restart = push_button("Restart", "Go back to the first moment (Home)")
        self.numbers = ElidedLabel()
        self._grid = QGridLayout()
        self._columns = 0
        self._lay_out()
        self.show_playing(is_playing=False)
        self.show_opened(is_open=False)

    def set_options(self, options: DrawOptions) -> None:
        """Draw all panes with these options, and one legend for all of them."""
        self._options = options
        for number, pane in enumerate(self.panes.values()):
            pane.viewport.set_options(replace(options, legend=options.legend and number == 0))

    def empty(self, title: str) -> None:
        """Show no view, and the name of what is being opened."""
        self.title.setText(title)
        self.show_error("")
        self._set_names(())
        self.numbers.setText("")
        self.show_opened(is_open=False)

    def show_moment(self, answer: MomentAnswer) -> None:
        """Show a moment in all panes."""
        left_out = {left.name: left.reason for left in answer.moment.left_out}
        names = [view.name for view in answer.moment.views] + list(left_out)
        if set(names) - set(self.panes):
            self._set_names(sorted({*self.panes, *names}, key=[*self.panes, *names].index))
        for hand in answer.hands:
            left_out.update({left.name: left.reason for left in hand.left_out})
        for name, pane in self.panes.items():
            is_off = not pane.switch.isChecked()
            pane.show_result(answer.results.get(name), "switched off" if is_off else left_out.get(name, ""))
        self.show_opened(is_open=True)
        self.numbers.setText(moment_text(answer))

    def show_playing(self, *, is_playing: bool) -> None:
        """Name the button for what it does."""
        self.play.setText("Pause" if is_playing else "Play")

    def show_opened(self, *, is_open: bool) -> None:
        """Enable what needs a rig."""
        self.invitation.setVisible(not is_open)
        for button in (self.play, self.step, self.restart):
            button.setEnabled(is_open)

    def show_error(self, message: str) -> None:
        """Show an error above the panes; empty: none."""
        self.banner.setText(message)
        self.banner.setVisible(bool(message))

    def switched_off(self) -> frozenset[str]:
        """Return the names of the views that are not used."""
        return frozenset(name for name, pane in self.panes.items() if not pane.switch.isChecked())

    def release_gl(self) -> None:
        """Free everything on the graphics card."""
        for pane in self.panes.values():
            pane.viewport.release_gl()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """Arrange the panes anew."""
        super().resizeEvent(event)
        self._arrange()

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:  # noqa: N802
        """Accept dragged files."""
        welcome(event)

    def dropEvent(self, event: QDropEvent | None) -> None:  # noqa: N802
        """Report the first dropped file."""
        paths = dropped_paths(event)
        if paths:
            self.file_dropped.emit(paths[0])

    def _lay_out(self) -> None:
        self._grid.setSpacing(2)
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 8, 10, 6)
        top = row_of(self.open, self.sample, self.title, wide=self.title)
        column.addLayout(top)
        column.addWidget(self.banner)
        column.addWidget(self.invitation, 1)
        column.addLayout(self._grid, 1)
        column.addLayout(row_of(self.play, self.step, self.restart, self.numbers, wide=self.numbers))

    def _set_names(self, names: Sequence[str]) -> None:
        """Show panes of these views alone; those that are there already keep their switches."""
        for name in [name for name in self.panes if name not in names]:
            pane = self.panes.pop(name)
            pane.viewport.release_gl()
            self._grid.removeWidget(pane)
            pane.deleteLater()
        for name in names:
            if name not in self.panes:
                self.panes[name] = self._new_pane(name)
        self._columns = 0
        self._arrange()
        self.set_options(self._options)

    def _arrange(self) -> None:
        """Put the panes where their images are largest."""
        columns = columns_of(len(self.panes), self.width(), self.height() - CONTROLS_PX) if self.panes else 0
        if columns == self._columns:
            return
        self._columns = columns
        for pane in self.panes.values():
            self._grid.removeWidget(pane)
        for number, pane in enumerate(self.panes.values()):
            self._grid.addWidget(pane, number // columns, number % columns)

    def _new_pane(self, name: str) -> ViewPane:
        pane = ViewPane(name, self._display)
        pane.switch.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        pane.switch.toggled.connect(lambda _, pane=pane: self._take_switch(pane))
        return pane

    def _take_switch(self, pane: ViewPane) -> None:
        """Report which views are off; the last one stays on."""
        if len(self.switched_off()) == len(self.panes):
            check_quietly(pane.switch, True)
            return
        self.views_changed.emit(self.switched_off())


def columns_of(count: int, width_px: int, height_px: int, aspect: float = USUAL_ASPECT) -> int:
    """Return the number of columns in which so many images of this aspect ratio are largest."""

    def image_width(columns: int) -> float:
        rows = -(-count // columns)
        return min(width_px / columns, (height_px / rows - HEAD_PX) * aspect)

    return max(range(1, count + 1), key=image_width)


def moment_text(answer: MomentAnswer) -> str:
    """Return a line on a moment: its number, its hands, and how sure and fast they are."""
    count = f" / {answer.count}" if answer.count else ""
    parts = [f"moment {answer.moment.number + 1}{count}"]
    for hand in answer.hands:
        std_mm = hand.hand.vertex_std_mm
        views = f"{len(hand.views)} view{'s' * (len(hand.views) != 1)}"
        spread = "" if std_mm is None else f", std. dev. mean {std_mm.mean():.1f} mm, max {std_mm.max():.1f} mm"
        parts.append(f"{hand.hand.handedness} hand of {views}{spread}")
    if not answer.hands:
        parts.append("no hand")
    parts.append(f"{answer.took_ms:.0f} ms")
    if answer.rate_hz > 0:
        parts.append(f"{answer.rate_hz:.1f} moments/s")
    return "  ·  ".join(parts)
