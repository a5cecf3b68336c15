"""What is remembered of sources between runs: the last one, recent ones, and how each camera or file is used."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from handviz.capture.camera import USUAL_MODE, CameraInfo, CameraMode, CameraWish, unique_names
from handviz.capture.sources import CAMERA_PREFIX, PICTURES_PREFIX, source_exists
from handviz.capture.turning import TURNS_DEG
from handviz.gui.messages import SourceSetup
from handviz.gui.settings import SettingsStore

LAST_SOURCE, LAST_CAMERA, RECENT = "last_source", "last_camera", "recent_sources"
MODES, TURNS = "camera_modes", "turns"
MOST_RECENT, MOST_TURNS = 8, 200


class SourceMemory:
    """Keeps it in the settings file; what cannot be read there any more is as if it had never been."""

    def __init__(self, store: SettingsStore) -> None:
        self._store = store

    def note_opened(self, text: str, camera_name: str) -> None:
        """The next run begins with this source."""
        self._store.remember(LAST_SOURCE, text)
        if text.startswith(CAMERA_PREFIX):
            self._store.remember(LAST_CAMERA, camera_name)
        elif not text.startswith(PICTURES_PREFIX):
            recent = [_absolute(text), *(other for other in self._recent() if other != _absolute(text))]
            self._store.remember(RECENT, json.dumps(recent[:MOST_RECENT]))

    def recent(self) -> list[str]:
        """Files and folders that were opened last, newest first; those that are gone are left out."""
        return [text for text in self._recent() if source_exists(text)]

    def last(self, cameras: Sequence[CameraInfo]) -> str:
        """What the last run ended with, as it is called now; empty if it is not there."""
        text, name = self._store.text(LAST_SOURCE), self._store.text(LAST_CAMERA)
        if not text.startswith(CAMERA_PREFIX):
            return text if source_exists(text) else ""
        if name:
            camera = unique_names(cameras).get(name)
            return f"{CAMERA_PREFIX}{camera.index}" if camera else ""
        return text if text in [f"{CAMERA_PREFIX}{camera.index}" for camera in cameras] else ""

    def setup_of(self, text: str, camera_name: str) -> SourceSetup:
        """How this source was used last."""
        is_camera = text.startswith(CAMERA_PREFIX)
        mode = self.mode_of(text, camera_name)
        wish = CameraWish(mode, camera_name) if is_camera and (camera_name or mode != USUAL_MODE) else None
        turn = self._table(TURNS).get(_key(text, camera_name))
        return SourceSetup(camera=wish, turned_deg=turn if turn in TURNS_DEG else 0)

    def mode_of(self, text: str, camera_name: str) -> CameraMode:
        """Size and rate that were chosen for a camera."""
        saved = self._table(MODES).get(_key(text, camera_name))
        try:
            width, height, fps = saved  # type: ignore[misc]
            mode = CameraMode(int(width), int(height), float(fps))
        except (TypeError, ValueError, OverflowError):
            return USUAL_MODE
        return mode if min(mode.width, mode.height) > 0 and mode.fps > 0 else USUAL_MODE

    def set_mode(self, text: str, camera_name: str, mode: CameraMode) -> None:
        """Use the camera like this from now on."""
        self._put(MODES, _key(text, camera_name), [mode.width, mode.height, mode.fps])

    def set_turn(self, text: str, camera_name: str, turned_deg: int) -> None:
        """Turn the source's pictures like this from now on."""
        self._put(TURNS, _key(text, camera_name), turned_deg)

    def _recent(self) -> list[str]:
        return [text for text in self._json(RECENT, list) if isinstance(text, str)]

    def _table(self, name: str) -> dict[str, Any]:
        return dict(self._json(name, dict))

    def _put(self, name: str, key: str, value: object) -> None:
        table = self._table(name)
        table.pop(key, None)
        table[key] = value
        newest = dict(list(table.items())[-MOST_TURNS:])
        self._store.remember(name, json.dumps(newest))

    def _json(self, name: str, kind: type[Any]) -> Any:
        try:
            value = json.loads(self._store.text(name) or "null")
        except ValueError:
            value = None
        return value if isinstance(value, kind) else kind()


def _key(text: str, camera_name: str) -> str:
    return f"{CAMERA_PREFIX}{camera_name}" if camera_name else _absolute(text)


def _absolute(text: str) -> str:
    """A path as it is called from any folder."""
    if text.startswith((CAMERA_PREFIX, PICTURES_PREFIX)):
        return text
    try:
        return str(Path(text).expanduser().absolute())
    except (OSError, RuntimeError, ValueError):
        return text
