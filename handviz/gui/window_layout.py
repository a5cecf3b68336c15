"""Size, place, folded groups and hidden panels of the window: remembered, and put back to what they were at first."""

from collections.abc import Sequence

from PyQt6.QtCore import QByteArray
from PyQt6.QtWidgets import QMainWindow

from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import ViewSettings
from handviz.gui.widgets.controls import Group, Panel
from handviz.gui.widgets.shortcuts import Feature, Shortcut
from handviz.gui.widgets.welcome import WELCOMED

GEOMETRY, FOLDED, PANELS_HIDDEN = "window_geometry", "folded_groups", "panels_hidden"
FIRST_SIZE = (1240, 780)
SEPARATOR = "|"


class WindowLayout(Feature):
    """Applies at construction what the last run left; saves when the window closes."""

    def __init__(self, window: QMainWindow, controller: Controller, panels: Sequence[Panel]) -> None:
        super().__init__()
        self._window, self._controller, self._panels = window, controller, panels
        store = controller.store
        window.resize(*FIRST_SIZE)
        # Qt checks what it is given, and moves a window whose screen is gone to one that is there.
        window.restoreGeometry(QByteArray.fromBase64(store.text(GEOMETRY).encode("ascii", "ignore")))
        folded = store.text(FOLDED).split(SEPARATOR)
        for group in self._groups():
            group.set_folded(group.title in folded)
        self._set_panels_hidden(store.text(PANELS_HIDDEN) == "true")

    def shortcuts(self) -> Sequence[Shortcut]:
        """Panels, full screen, reset."""
        return (
            Shortcut(("F10",), "hide or show the panels", self.toggle_panels),
            Shortcut(("F11",), "full screen, and back", self.toggle_full_screen),
            Shortcut((), "reset settings and layout", self.reset, menu="Tools"),
        )

    def stop(self) -> None:
        """Remember how the window is now."""
        store = self._controller.store
        geometry = bytes(self._window.saveGeometry().toBase64().data()).decode("ascii")
        store.save_text(GEOMETRY, geometry)
        store.save_text(FOLDED, SEPARATOR.join(group.title for group in self._groups() if group.is_folded))
        store.save_text(PANELS_HIDDEN, str(self._panels_hidden).lower())

    def toggle_panels(self) -> None:
        """The viewport alone, or the panels beside it."""
        self._set_panels_hidden(not self._panels_hidden)

    def toggle_full_screen(self) -> None:
        """The whole screen, or a window."""
        if self._window.isFullScreen():
            self._window.showNormal()
        else:
            self._window.showFullScreen()

    def reset(self) -> None:
        """Everything as at the first start; the settings as they were stay in a file beside the new ones."""
        kept = self._controller.store.set_aside()
        self._controller.store.save_text(WELCOMED, "true")
        self._controller.change(**vars(ViewSettings()))
        self._controller.set_speed(1.0)
        if self._controller.rotation_deg:
            self._controller.turn(-self._controller.rotation_deg)
        self._window.showNormal()
        self._window.resize(*FIRST_SIZE)
        self._set_panels_hidden(False)
        for group in self._groups():
            group.set_folded(False)
        old = f"; the old ones are in {kept}" if kept else ""
        self._controller.notify(f"Settings and layout are as at the first start{old}.")

    def _groups(self) -> list[Group]:
        return [group for panel in self._panels for group in panel.groups]

    def _set_panels_hidden(self, hidden: bool) -> None:
        self._panels_hidden = hidden
        for panel in self._panels:
            panel.setHidden(hidden)
