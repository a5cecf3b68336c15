"""Files that are dragged onto the window."""

from PyQt6.QtGui import QDragEnterEvent, QDropEvent


def welcome(event: QDragEnterEvent | None) -> None:
    """Let files and folders be dropped."""
    data = event.mimeData() if event is not None else None
    if event is not None and data is not None and data.hasUrls():
        event.acceptProposedAction()


def dropped_paths(event: QDropEvent | None) -> list[str]:
    """Files and folders of this machine that were dropped; empty if there were none."""
    data = event.mimeData() if event is not None else None
    return [url.toLocalFile() for url in data.urls() if url.isLocalFile()] if data is not None else []
