"""Saved sources: the last and recent ones, the settings of each, and intrinsics."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from handviz.core.camera_files import camera_model_from_text, camera_model_text
from handviz.core.camera_model import ASSUMED_CAMERA, CameraModel
from handviz.core.errors import HandvizError
from handviz.gui.session.messages import SourceConfig
from handviz.gui.session.settings import SettingsStore
from handviz.sources.camera import USUAL_MODE, CameraInfo, CameraMode, CameraRequest, find_again
from handviz.sources.images import ROTATIONS_DEG
from handviz.sources.source import CAMERA_PREFIX, IMAGES_PREFIX, camera_number, source_exists

LAST_SOURCE, LAST_CAMERA, RECENT = "last_source", "last_camera", "recent_sources"
MODES, ROTATIONS = "camera_modes", "turns"
MAX_RECENT, MAX_ROTATIONS = 8, 200
MAX_NUMBER = 100_000
"""Of pixels along a side, or of images per second, in a camera mode"""
CAMERA_MODELS = "camera_models"
"""Intrinsics by their owner."""


class SourceMemory:
    """Saved sources in the settings file; unreadable entries are ignored."""

    def __init__(self, store: SettingsStore) -> None:
        self._store = store

    def save_opened(self, text: str, camera: CameraInfo | None) -> None:
        """Save this source as the one to start with next time."""
        self._store.save_text(LAST_SOURCE, text)
        if text.startswith(CAMERA_PREFIX):
            self._store.save_text(LAST_CAMERA, json.dumps([camera.name, camera.port] if camera else []))
        elif not text.startswith(IMAGES_PREFIX):
            recent = [_absolute(text), *(other for other in self._recent() if other != _absolute(text))]
            self._store.save_text(RECENT, json.dumps(recent[:MAX_RECENT]))

    def recent(self) -> list[str]:
        """Return the files and folders that were opened last and still exist, newest first."""
        return [text for text in self._recent() if source_exists(text)]

    def last(self, cameras: Sequence[CameraInfo]) -> str:
        """Return the last source of the previous run under its present name, empty if it is missing."""
        text = self._store.text(LAST_SOURCE)
        known = [part for part in self._json(LAST_CAMERA, list) if isinstance(part, str)]
        if not text.startswith(CAMERA_PREFIX):
            return text if source_exists(text) else ""
        if len(known) == 2:
            lost = CameraInfo(camera_number(text) or 0, known[0], known[1])
            camera = find_again(lost, cameras)
            return f"{CAMERA_PREFIX}{camera.index}" if camera else ""
        return text if text in [f"{CAMERA_PREFIX}{camera.index}" for camera in cameras] else ""

    def config_of(self, text: str, camera: CameraInfo | None) -> SourceConfig:
        """Return the saved settings of this source."""
        is_camera = text.startswith(CAMERA_PREFIX)
        mode = self.mode_of(text, camera)
        request = CameraRequest(mode, camera) if is_camera and (camera or mode != USUAL_MODE) else None
        rotation_deg = self._get(ROTATIONS, text, camera)
        return SourceConfig(
            camera=request, rotation_deg=next((known for known in ROTATIONS_DEG if known == rotation_deg), 0)
        )

    def mode_of(self, text: str, camera: CameraInfo | None) -> CameraMode:
        """Return the image size and rate that were chosen for a camera."""
        saved = self._get(MODES, text, camera)
        parts = saved if isinstance(saved, list) and len(saved) == 3 else []
        if not parts or not all(isinstance(part, int | float) and 0 < part <= MAX_NUMBER for part in parts):
            return USUAL_MODE
        mode = CameraMode(round(parts[0]), round(parts[1]), float(parts[2]))
        return mode if min(mode.width, mode.height) > 0 and mode.fps > 0 else USUAL_MODE

    def set_mode(self, text: str, camera: CameraInfo | None, mode: CameraMode) -> None:
        """Save the image size and rate of a camera."""
        self._put(MODES, _keys(text, camera), [mode.width, mode.height, mode.fps])

    def set_rotation(self, text: str, camera: CameraInfo | None, rotation_deg: int) -> None:
        """Save the rotation of a source's images."""
        self._put(ROTATIONS, _keys(text, camera), rotation_deg)

    def camera_model_text(self, owner: str) -> str:
        """Return the saved intrinsics of an owner as a text, empty without any."""
        saved = self._table(CAMERA_MODELS).get(owner, "")
        return saved if isinstance(saved, str) else ""

    def set_camera_model_text(self, owner: str, text: str) -> None:
        """Save the intrinsics of an owner."""
        self._put(CAMERA_MODELS, [owner], text)

    def _recent(self) -> list[str]:
        return [text for text in self._json(RECENT, list) if isinstance(text, str)]

    def _table(self, name: str) -> dict[str, Any]:
        return dict(self._json(name, dict))

    def _get(self, name: str, text: str, camera: CameraInfo | None) -> object:
        table = self._table(name)
        return next((table[key] for key in _keys(text, camera) if key in table), None)

    def _put(self, name: str, keys: Sequence[str], value: object) -> None:
        table = self._table(name)
        for key in keys:
            table.pop(key, None)
            table[key] = value
        newest = dict(list(table.items())[-MAX_ROTATIONS:])
        self._store.save_text(name, json.dumps(newest))

    def _json(self, name: str, kind: type[Any]) -> Any:
        try:
            value = json.loads(self._store.text(name) or "null")
        except (ValueError, RecursionError):
            value = None
        return value if isinstance(value, kind) else kind()


def _keys(text: str, camera: CameraInfo | None) -> list[str]:
    """Return the keys of a camera, with and without its port, or the key of a path."""
    if camera is None:
        return [_absolute(text)]
    return [f"{CAMERA_PREFIX}{camera.name} @ {camera.port}", f"{CAMERA_PREFIX}{camera.name}"]


def _absolute(text: str) -> str:
    """Return an absolute path; cameras and lists of images stay as they are."""
    if text.startswith((CAMERA_PREFIX, IMAGES_PREFIX)):
        return text
    try:
        return str(Path(text).expanduser().absolute())
    except (OSError, RuntimeError, ValueError):
        return text


def owner_of(source: str, camera_name: str) -> str:
    """Return whose intrinsics a source has: the camera's, by its name if it has one, or the file's or folder's own."""
    return camera_name or source if source.startswith(CAMERA_PREFIX) else _absolute(source)


def saved_camera_model(store: SettingsStore, owner: str) -> CameraModel:
    """Return the saved intrinsics of a camera, file or folder, or the assumed ones if none can be read."""
    saved = SourceMemory(store).camera_model_text(owner) or store.text(_former_key(owner))
    try:
        return camera_model_from_text(saved)
    except HandvizError:
        return ASSUMED_CAMERA


def save_camera_model(store: SettingsStore, owner: str, camera_model: CameraModel) -> None:
    """Save the intrinsics of a camera, file or folder."""
    if camera_model != saved_camera_model(store, owner):
        SourceMemory(store).set_camera_model_text(owner, camera_model_text(camera_model))


def _former_key(owner: str) -> str:
    """Return the name that a camera's intrinsics had in version 0.1, where a slash made a group."""
    return f"lens_of_{owner}".replace("/", "_").replace("\\", "_")
