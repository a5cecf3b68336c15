"""Controller of the window, without widgets: sources, settings, the two workers and their messages."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from PyQt6.QtCore import QObject, pyqtSignal

from handviz.core.paths import CLIP_FILE
from handviz.gui.session.camera_probe import CameraProbe
from handviz.gui.session.capture_thread import CaptureThread
from handviz.gui.session.history import History, Values, names_in_words
from handviz.gui.session.mesh_saver import MeshRequest, write_meshes
from handviz.gui.session.messages import Answer, FrameRequest, SourceInfo, SourceLength, Status
from handviz.gui.session.rates import Reports
from handviz.gui.session.reconstruct_thread import PipelineMaker, ReconstructThread
from handviz.gui.session.settings import (
    INSTEAD_OF_COLOUR,
    SettingsStore,
    ShownColour,
    ViewSettings,
    changed,
    flat,
    shown_colour,
    wanted_of_pipeline,
    with_one_colour,
)
from handviz.gui.session.source_memory import LAST_SOURCE as LAST_SOURCE
from handviz.gui.session.source_memory import SourceMemory
from handviz.gui.session.tasks import Task
from handviz.pipeline.settings import PipelineConfig
from handviz.sources.camera import CameraMode
from handviz.sources.mailbox import Mailbox
from handviz.sources.source import CAMERA_PREFIX, IMAGES_PREFIX, CameraInfo, Source, list_cameras, open_source

DEFAULT_CONFIG = PipelineConfig()
SPEEDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
logger = logging.getLogger(__name__)


class Controller(QObject):
    """Interface between the widgets, which call its methods and follow its signals, and the threads."""

    answered = pyqtSignal(object)
    """Answer of the present source; late ones of earlier sources are dropped"""
    reported = pyqtSignal(object)
    """the newest Answer, at most ten times a second while the source plays: texts are costly to paint, and are read"""
    source_opened = pyqtSignal(object)
    """SourceInfo"""
    source_changing = pyqtSignal(str)
    playing_changed = pyqtSignal(bool)
    settings_changed = pyqtSignal(object)
    """ViewSettings"""
    status_changed = pyqtSignal(object)
    """Status"""
    warned = pyqtSignal(str)
    """message about a request that failed, shown as a toast"""
    saved = pyqtSignal(str, str)
    """message about what was written, and its folder"""
    cameras_found = pyqtSignal(list)
    length_changed = pyqtSignal(object)
    """SourceLength of the present source"""
    speed_changed = pyqtSignal(float)
    rotated = pyqtSignal(int)
    """clockwise rotation of the present source's images in degrees"""

    def __init__(
        self,
        make_pipeline: PipelineMaker,
        store: SettingsStore,
        *,
        opener: Callable[..., Source] = open_source,
        lister: Callable[[], list[CameraInfo]] = list_cameras,
        fallback_clip: Path = CLIP_FILE,
        for_this_run: Mapping[str, Any] | None = None,
        config: PipelineConfig = DEFAULT_CONFIG,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``for_this_run``: settings by their names that are not saved.

        ``config``: what the pipelines are made with, for functions outside them. ``clock``: seconds, for undo.
        """
        super().__init__()
        self.config = config
        self.store = store
        self._saved: ViewSettings = store.load()
        self.settings: ViewSettings = changed(self._saved, **with_one_colour(for_this_run or {}))
        self._history = History(clock)
        self.source: SourceInfo | None = None
        self.is_playing = False
        self.speed = 1.0
        self.rotation_deg = 0
        self.cameras: list[CameraInfo] | None = None
        self.memory = SourceMemory(store)
        self._wanted_text = ""
        self.camera_in_use: CameraInfo | None = None
        self._fallback_clip = fallback_clip
        self._generation = self._last_generation = 0
        self._before: tuple[SourceInfo, CameraInfo | None, bool] | None = None
        """What was open when another source was asked for"""
        self._reports = Reports()
        self._chooses_source = False
        self._saves_source = False
        self._view_error, self._source_error, self._model_error, self._message = "", "", "", ""
        self._reply, self._sent_errors = "", ""
        mailbox: Mailbox[FrameRequest] = Mailbox()
        self._capture = CaptureThread(mailbox, opener, lister=lister)
        self._reconstruct = ReconstructThread(mailbox, make_pipeline, wanted_of_pipeline(self.settings))
        self._probe = CameraProbe(lister)
        self._saver = Task("The meshes could not be saved")
        self._connect()

    def _connect(self) -> None:
        self.answered.connect(self._reports.take)
        self._reports.due.connect(self.reported)
        self._capture.opened.connect(self._on_opened)
        self._capture.refused.connect(self._on_refused)
        self._capture.error.connect(self._on_source_error)
        self._capture.recovered.connect(self._on_source_recovered)
        self._capture.playing_changed.connect(self._on_playing_changed)
        self._capture.length_changed.connect(self._on_length_changed)
        self._reconstruct.answered.connect(self._on_answered)
        self._reconstruct.error.connect(self._on_model_error)
        self._reconstruct.recovered.connect(self._on_model_recovered)
        self._probe.found.connect(self._on_cameras_found)
        self._saver.done.connect(lambda done: self.report_saved(*done))
        self._saver.failed.connect(self.warn)

    def start(self, source: str | None = None) -> None:
        """Start the workers with a source, or with the last one, the first camera or the bundled clip."""
        if self.store.notice:
            self.warn(self.store.notice)
        self.store.on_error = self.warn
        self._capture.start()
        self._reconstruct.start()
        self._capture.set_loop(self.settings.loop)
        self._capture.set_every_frame(self.settings.every_frame)
        self._chooses_source = source is None
        if source is not None:
            self._open(source)
        else:
            self._set_message("Looking for cameras…")
        self.find_cameras()

    def close(self) -> None:
        """Stop the workers and wait for them."""
        self._chooses_source = False
        # Signals of the workers may still be queued; they are dropped.
        self._generation = -1
        self._reports.forget()
        self._reconstruct.stop()
        self._capture.stop()
        self._probe.stop()
        self._saver.stop()

    def find_cameras(self) -> None:
        """Refresh the list of cameras in the background."""
        self._probe.refresh()

    def open(self, text: str) -> None:
        """Open a source ("camera:0", a clip, folder or image), and save it for the next run."""
        self._open(text, saves=True)

    def _open(self, text: str, *, saves: bool = False, camera: CameraInfo | None = None) -> None:
        if self.source is not None:
            self._before = self.source, self.camera_in_use, self._saves_source
        self._chooses_source, self._saves_source = False, saves
        self._generation = self._last_generation = self._last_generation + 1
        self._reports.forget()
        self.source = None
        self._source_error = ""
        self._set_message(f"Opening {'chosen images' if text.startswith(IMAGES_PREFIX) else text}…")
        self._wanted_text, self.camera_in_use = text, camera or self.listed_camera(text)
        config = self.memory.config_of(text, self.camera_in_use)
        self._set_rotation(config.rotation_deg)
        self.source_changing.emit(text)
        self._capture.open(text, self._generation, config)
        self._capture.set_cameras(self.cameras or [])

    @property
    def has_source(self) -> bool:
        """Whether a source is open, or being opened."""
        return self.source is not None or (bool(self._wanted_text) and not self._source_error)

    @property
    def camera_mode(self) -> CameraMode:
        """Requested image size and rate of the camera in use."""
        return self.memory.mode_of(self._wanted_text, self.camera_in_use)

    def listed_camera(self, text: str) -> CameraInfo | None:
        """Return the listed camera with this text, such as "camera:0"."""
        return next((camera for camera in self.cameras or [] if text == f"{CAMERA_PREFIX}{camera.index}"), None)

    def set_camera_mode(self, mode: CameraMode) -> None:
        """Request another image size or rate of the camera, and save it."""
        text = self._wanted_text
        if text.startswith(CAMERA_PREFIX):
            self.memory.set_mode(text, self.camera_in_use, mode)
            self._open(text, saves=self._saves_source, camera=self.camera_in_use)

    def rotate(self, by_deg: int = 90) -> None:
        """Rotate the source's images clockwise, and save the rotation for this source."""
        if not self._wanted_text:
            self.notify("No images to rotate yet.")
            return
        self._set_rotation((self.rotation_deg + by_deg) % 360)
        self.memory.set_rotation(self._wanted_text, self.camera_in_use, self.rotation_deg)
        self._capture.rotate(self.rotation_deg)

    def set_speed(self, speed: float) -> None:
        """Set the playback speed of clips and folders."""
        if speed != self.speed:
            self.speed = speed
            self._capture.set_speed(speed)
            self.speed_changed.emit(speed)

    def change_speed(self, by: int) -> None:
        """Choose the next faster speed, or the next slower one for -1."""
        index = SPEEDS.index(self.speed) + by
        self.set_speed(SPEEDS[min(max(index, 0), len(SPEEDS) - 1)])

    def change(self, **changes: Any) -> None:
        """Change and save settings by their names, as the user wants: ``undo`` takes it back."""
        changes, before = with_one_colour(changes), flat(self.settings)
        self._change(changes)
        altered = [name for name, value in changes.items() if value != before[name]]
        if altered:
            self._history.add({name: before[name] for name in altered}, {name: changes[name] for name in altered})

    def choose_colour(self, chosen: ShownColour) -> None:
        """Let the colours show this; a difference map or attention that is shown already gives way to the colour."""
        is_off = chosen in INSTEAD_OF_COLOUR and shown_colour(self.settings) == chosen
        self.change(shown_colour=self.settings.draw.colour if is_off else chosen)

    def set_range(self, range_mm: tuple[float, float]) -> None:
        """Give the colour scale these ends, as one change."""
        self.change(range_is_automatic=False, range_low_mm=range_mm[0], range_high_mm=range_mm[1])

    def change_with_source(self, **changes: Any) -> None:
        """Change and save settings that belong to the source, which has changed: there is no way back to others'."""
        self._history.forget(changes)
        self._change(changes)

    def undo(self) -> None:
        """Take the last change of settings back; a message says which."""
        self._go_to(self._history.undo(), "Undone")

    def redo(self) -> None:
        """Change the settings again that were taken back last."""
        self._go_to(self._history.redo(), "Redone")

    def _go_to(self, values: Values | None, word: str) -> None:
        if values is None:
            self.notify(f"No change of settings can be {word.lower()}.")
            return
        self._change(values)
        # After the messages of those who follow the settings.
        self.notify(f"{word}: {names_in_words(values)}.")

    def _change(self, changes: Values) -> None:
        self._saved = changed(self._saved, **changes)
        self.store.save(self._saved)
        settings = changed(self.settings, **changes)
        if settings == self.settings:
            return
        before, self.settings = self.settings, settings
        if settings.loop != before.loop:
            self._capture.set_loop(settings.loop)
        if settings.every_frame != before.every_frame:
            self._capture.set_every_frame(settings.every_frame)
        wanted = wanted_of_pipeline(settings)
        if wanted != wanted_of_pipeline(before):
            self._reconstruct.apply(wanted)
            self._capture.repeat()
        self.settings_changed.emit(settings)

    def toggle_playing(self) -> None:
        """Play or pause a clip or folder."""
        if self.source is not None and not self.source.is_live:
            self._capture.set_playing(not self.is_playing)

    def pause(self, paused: bool) -> None:
        """Pause or resume the stream while something else needs the processor."""
        self._capture.set_paused(paused)

    def step(self, by: int) -> None:
        """Pause and go ``by`` frames further."""
        self._capture.step(by)

    def seek(self, number: int) -> None:
        """Show this frame."""
        self._capture.seek(number)

    def set_span(self, first: int, last: int | None) -> None:
        """Play and loop from one frame to another, both included; None: to the end."""
        self._capture.set_span(first, last)

    def go_to(self, number: int) -> None:
        """Pause and show this frame."""
        self._capture.set_playing(False)
        self.seek(number)

    def go_to_end(self) -> None:
        """Pause and show the last frame, if the length is known."""
        if self.source is not None and self.source.frame_count:
            self.go_to(self.source.frame_count - 1)

    def forget_texture(self) -> None:
        """Discard the colours of earlier frames, and process a paused frame again without them."""
        if shown_colour(self.settings) == "texture":
            self._reconstruct.forget_texture()
            self._capture.repeat()
            self.notify("Texture reset.")
        else:
            self.notify("A texture can be reset in texture colour only (T).")

    def flip_hand(self, track_id: int) -> None:
        """Give the hand of this number the other side, also in a paused frame."""
        self._reconstruct.flip_hand(track_id)
        self._capture.repeat()

    def hide_hand(self, track_id: int) -> None:
        """Leave the hand of this number out, also in a paused frame."""
        self._reconstruct.hide_hand(track_id)
        self._capture.repeat()

    def show_all_hands(self) -> None:
        """Show hidden hands again, also in a paused frame."""
        self._reconstruct.show_all_hands()
        self._capture.repeat()

    def save_meshes(self, request: MeshRequest) -> None:
        """Write the meshes of a result in the background; a message reports the paths or the error."""
        has_begun = self._saver.begin(partial(write_meshes, request))
        self.notify("Writing meshes…" if has_begun else "Still writing the previous meshes; try again soon.")

    def notify(self, message: str) -> None:
        """Show a message in the status bar."""
        self._reply = message
        self._set_message(message)

    def report_saved(self, message: str, folder: Path) -> None:
        """Report what was written, and where: in the log, as a toast and in the status bar."""
        logger.info("%s", message)
        self.notify(message)
        self.saved.emit(message, str(folder))

    def warn(self, message: str) -> None:
        """Report that a request failed: in the log, as a toast and in the status bar."""
        logger.warning("%s", message)
        self._set_message(message)
        self.warned.emit(message)

    def report_view(self, message: str) -> None:
        """Report why the view stays empty, for the rest of the run."""
        if message != self._view_error:
            self._view_error = message
            logger.error("%s", message)
            self._emit_status()

    def _on_cameras_found(self, cameras: list[CameraInfo]) -> None:
        before, self.cameras = self.cameras, cameras
        self.cameras_found.emit(cameras)
        if not self._chooses_source:
            self._report_camera_changes(before, cameras)
            return
        last = self.memory.last(cameras)
        camera_texts = [f"{CAMERA_PREFIX}{camera.index}" for camera in cameras]
        if last:
            self._open(last)
        elif camera_texts:
            self._open(camera_texts[0])
        elif self._fallback_clip.is_file():
            self._open(str(self._fallback_clip))
            self._set_message("No camera found; playing the bundled clip.")
        else:
            self._set_message("No camera found. Open a clip, folder or image, or drop one here.")

    def _report_camera_changes(self, before: list[CameraInfo] | None, after: list[CameraInfo]) -> None:
        self.camera_in_use = self.camera_in_use or self.listed_camera(self._wanted_text)
        self._capture.set_cameras(after, self.camera_in_use)
        if before is None:
            return
        added = [one.name for one in after if not any(one.is_same(other) for other in before)]
        removed = [one.name for one in before if not any(one.is_same(other) for other in after)]
        messages = [f"{name} plugged in." for name in added] + [f"{name} unplugged." for name in removed]
        if messages:
            self.notify(" ".join(messages))

    def _on_opened(self, info: SourceInfo) -> None:
        if info.generation != self._generation:
            self._before = info, info.camera, False  # another one was asked for meanwhile, and may be refused
            return
        self.source, self._wanted_text = info, info.text
        self.camera_in_use = info.camera or self.camera_in_use
        if self._saves_source:
            self.memory.save_opened(info.text, self.camera_in_use)
        if self._message.startswith("Opening"):
            self._message = ""
        self.source_opened.emit(info)
        self._emit_status()

    def _on_refused(self, generation: int, message: str) -> None:
        """Go on with the source that was open before."""
        if generation != self._generation or self._before is None:
            return
        info, self.camera_in_use, self._saves_source = self._before
        self._generation, self._wanted_text = info.generation, info.text
        self._set_rotation(info.rotation_deg)
        self.source_changing.emit(info.text)
        self._on_opened(info)
        self._capture.repeat()
        self.playing_changed.emit(self.is_playing)
        self.warn(message)

    def _on_answered(self, answer: Answer) -> None:
        if answer.generation == self._generation:
            self.answered.emit(answer)

    def _on_source_error(self, generation: int, message: str) -> None:
        if generation == self._generation:
            self._source_error = message
            self._emit_status()

    def _on_source_recovered(self, generation: int) -> None:
        self._on_source_error(generation, "")

    def _on_playing_changed(self, generation: int, is_playing: bool) -> None:
        if generation == self._generation:
            self.is_playing = is_playing
            self.playing_changed.emit(is_playing)

    def _on_length_changed(self, length: SourceLength) -> None:
        if length.generation == self._generation and self.source is not None:
            self.source = replace(self.source, frame_count=length.frame_count, description=length.description)
            self.length_changed.emit(length)

    def _set_rotation(self, rotation_deg: int) -> None:
        self.rotation_deg = rotation_deg
        self.rotated.emit(rotation_deg)

    def _on_model_error(self, message: str) -> None:
        self._model_error = message
        self._emit_status()

    def _on_model_recovered(self) -> None:
        self._on_model_error("")

    def _set_message(self, message: str) -> None:
        self._message = message
        self._emit_status()

    def _emit_status(self) -> None:
        """Send the present message; errors come first."""
        possible = self._view_error, self._source_error, self._model_error
        errors = "  ·  ".join(message for message in possible if message)
        if errors != self._sent_errors:
            self._sent_errors, self._reply = errors, ""
        answer = self._reply if errors else ""
        self.status_changed.emit(Status(errors or self._message, is_error=bool(errors), answer=answer))
