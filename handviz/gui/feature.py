"""What stands by itself in the window: recording, streaming, inspection and their like."""

from collections.abc import Sequence

from PyQt6.QtCore import QObject

from handviz.gui.widgets.shortcuts import Shortcut


class Feature(QObject):
    """A function of the window with its own actions, widgets and threads; the window knows no more of it."""

    def shortcuts(self) -> Sequence[Shortcut]:
        """Its actions for keys and menus."""
        return ()

    def stop(self) -> None:
        """End what runs and wait for it; the window is closing."""
