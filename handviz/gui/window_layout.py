"""Layout of the window (geometry, collapsed groups, hidden panels): saved, restored and reset."""

import re
from collections.abc import Sequence

from PyQt6.QtCore import QByteArray, QSize
from PyQt6.QtWidgets import QMainWindow

from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import ViewSettings, flat
from handviz.gui.widgets.controls import Group, Panel
from handviz.gui.widgets.shortcuts import Feature, Shortcut
from handviz.gui.widgets.welcome import WELCOMED

GEOMETRY, FOLDED, PANELS_HIDDEN = "window_geometry", "folded_groups", "panels_hidden"
FIRST_SIZE = (1240, 780)
FRAME_PX = 40
"""Height that is left for the frame which a desktop draws around a window."""
SEPARATOR = "|"
LEAST_SIZE = (300, 200)
"""Of a saved window that is taken"""
MAX_GEOMETRY = 400
"""Characters of a saved geometry, which takes 88"""
BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


class WindowLayout(Feature):
    """Layout that is restored at construction and saved when the window closes."""

    def __init__(self, window: QMainWindow, controller: Controller, panels: Sequence[Panel]) -> None:
        super().__init__()
        self._window, self._controller, self._panels = window, controller, panels
        store = controller.store
        _resize_to_first(window)
        _restore_geometry(window, store.text(GEOMETRY))
        folded = store.text(FOLDED).split(SEPARATOR)
        for group in self._groups():
            group.set_folded(group.title in folded)
        self._set_panels_hidden(store.text(PANELS_HIDDEN) == "true")

    def shortcuts(self) -> Sequence[Shortcut]:
        """Return the shortcuts for panels, full screen and reset."""
        return (
            Shortcut(("F10",), "Toggle panels", self.toggle_panels),
            Shortcut(("F11",), "Full screen", self.toggle_full_screen),
            Shortcut((), "Reset settings and layout", self.reset, menu="Tools"),
        )

    def stop(self) -> None:
        """Save the layout."""
        store = self._controller.store
        geometry = bytes(self._window.saveGeometry().toBase64().data()).decode("ascii")
        store.save_text(GEOMETRY, geometry)
        store.save_text(FOLDED, SEPARATOR.join(group.title for group in self._groups() if group.is_folded))
        store.save_text(PANELS_HIDDEN, str(self._panels_hidden).lower())

    def toggle_panels(self) -> None:
        """Show or hide the panels."""
        self._set_panels_hidden(not self._panels_hidden)

    def toggle_full_screen(self) -> None:
        """Enter or leave full screen."""
        if self._window.isFullScreen():
            self._window.showNormal()
        else:
            self._window.showFullScreen()

    def reset(self) -> None:
        """Reset settings and layout to the defaults; the old settings stay in a file beside the new ones."""
        backup = self._controller.store.set_aside()
        self._controller.store.save_text(WELCOMED, "true")
        self._controller.change(**flat(ViewSettings()))
        self._controller.set_speed(1.0)
        if self._controller.rotation_deg:
            self._controller.rotate(-self._controller.rotation_deg)
        self._window.showNormal()
        _resize_to_first(self._window)
        self._set_panels_hidden(False)
        for group in self._groups():
            group.set_folded(False)
        old = f"; the old ones are in {backup}" if backup else ""
        self._controller.notify(f"Settings reset to defaults{old}.")

    def _groups(self) -> list[Group]:
        return [group for panel in self._panels for group in panel.groups]

    def _set_panels_hidden(self, hidden: bool) -> None:
        self._panels_hidden = hidden
        for panel in self._panels:
            panel.setHidden(hidden)


def first_size(free: QSize) -> QSize:
    """Return the size of a new window on a screen with so much room, of which its frame takes part."""
    return QSize(*FIRST_SIZE).boundedTo(free - QSize(0, FRAME_PX))


def _resize_to_first(window: QMainWindow) -> None:
    screen = window.screen()
    assert screen is not None
    window.resize(first_size(screen.availableGeometry().size()))


def _restore_geometry(window: QMainWindow, text: str) -> None:
    """Give the window a saved geometry, unless it is damaged or of no use: Qt checks the content itself."""
    if len(text) <= MAX_GEOMETRY and BASE64.fullmatch(text):
        # A window whose screen is missing is moved to another; a damaged one may be of a pixel.
        window.restoreGeometry(QByteArray.fromBase64(text.encode("ascii")))
        if window.width() < LEAST_SIZE[0] or window.height() < LEAST_SIZE[1]:
            _resize_to_first(window)
