"""Files and folders that are dropped on the window."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PyQt6.QtGui import QDragEnterEvent, QDropEvent

from handviz.sources.file_kinds import CLIP_SUFFIXES, is_image_file, kind_of
from handviz.sources.source import text_of_images

MAX_NAMED = 3


@dataclass(frozen=True)
class DroppedSource:
    """Argument for ``open_source``, empty if nothing fits, and a message about the unused rest."""

    text: str
    message: str = ""


def choose(paths: Sequence[Path]) -> DroppedSource:
    """Return several images as one list, otherwise the first folder, clip or image."""
    if len(paths) == 1:
        return DroppedSource(str(paths[0]))
    images = [path for path in paths if path.is_file() and is_image_file(path)]
    others = [path for path in paths if path not in images]
    if len(images) > 1:
        return DroppedSource(text_of_images(images), _unused_message(others, "Only the images were opened"))
    folders = [path for path in others if path.is_dir()]
    first = next(iter([*folders, *_clips(others), *images, *others]), None)
    if first is None:
        return DroppedSource("")
    return DroppedSource(
        str(first), _unused_message([path for path in paths if path != first], "Only one source was opened")
    )


def _clips(paths: Sequence[Path]) -> list[Path]:
    return [path for path in paths if path.suffix.lower() in CLIP_SUFFIXES or _is_clip(path)]


def _is_clip(path: Path) -> bool:
    return path.is_file() and kind_of(path) == "clip"


def _unused_message(paths: Sequence[Path], reason: str) -> str:
    if not paths:
        return ""
    names = ", ".join(path.name for path in paths[:MAX_NAMED])
    more = f" and {len(paths) - MAX_NAMED} more" if len(paths) > MAX_NAMED else ""
    return f"{reason}; not used: {names}{more}."


def welcome(event: QDragEnterEvent | None) -> None:
    """Accept a drag of files and folders."""
    data = event.mimeData() if event is not None else None
    if event is not None and data is not None and data.hasUrls():
        event.acceptProposedAction()


def dropped_paths(event: QDropEvent | None) -> list[str]:
    """Return the paths of dropped local files and folders."""
    data = event.mimeData() if event is not None else None
    return [url.toLocalFile() for url in data.urls() if url.isLocalFile()] if data is not None else []
