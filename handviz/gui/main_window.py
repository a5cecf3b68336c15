"""Main window: viewport, panels at its sides, timeline and status bar below."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QResizeEvent
from PyQt6.QtWidgets import QFileDialog, QHBoxLayout, QMainWindow, QTabWidget, QVBoxLayout, QWidget

from handviz.core.errors import HandvizError
from handviz.core.records import FrameResult
from handviz.gui.calibration.feature import CameraFeature
from handviz.gui.folder.feature import InspectionFeature
from handviz.gui.inspector.compare import Compare
from handviz.gui.inspector.distribution import Distribution
from handviz.gui.inspector.hand_actions import HandActions
from handviz.gui.inspector.network_views import NetworkViews
from handviz.gui.inspector.point_inspector import PointInspector
from handviz.gui.record.animation_export import AnimationExport
from handviz.gui.record.figures import Figures
from handviz.gui.record.output_panel import OutputPanel
from handviz.gui.record.recording import Recorder
from handviz.gui.record.screenshot import (
    SCREENSHOT_FOLDER,
    TransparentExport,
    free_path,
    images_folder,
    save_image,
    timed_name,
)
from handviz.gui.record.streaming import Streaming
from handviz.gui.session.controller import Controller
from handviz.gui.session.mesh_saver import MESH_FORMATS, MeshRequest
from handviz.gui.session.messages import Answer, Status
from handviz.gui.session.settings import ViewSettings, drawn_with, value_of
from handviz.gui.several_views.feature import SeveralViews
from handviz.gui.source.source_panel import SourceFeature, SourcePanel
from handviz.gui.source.timeline import Timeline
from handviz.gui.view.navigation import Navigation
from handviz.gui.view.view_panel import ViewPanel
from handviz.gui.view.viewport import Viewport
from handviz.gui.widgets.about import AboutDialog
from handviz.gui.widgets.choices import choices_of
from handviz.gui.widgets.controls import ElidedLabel, LiveLabel, named_label, single_shot
from handviz.gui.widgets.dropping import choose as choose_dropped
from handviz.gui.widgets.dropping import dropped_paths, welcome
from handviz.gui.widgets.input_filters import give_keyboard_back, let_wheel_scroll
from handviz.gui.widgets.log_window import LogBuffer, LogWindow
from handviz.gui.widgets.shortcuts import Feature, MenuName, Shortcut, ShortcutWindow, focus_by_tab_only, install
from handviz.gui.widgets.toasts import Toasts
from handviz.gui.widgets.welcome import WELCOMED, Welcome
from handviz.gui.window_layout import WindowLayout
from handviz.rendering.hand_shape import ModelDisplay
from handviz.sources.file_kinds import CLIP_SUFFIXES, IMAGE_SUFFIXES
from handviz.sources.source import IMAGES_PREFIX

CLIP_FILTER = f"Clips ({' '.join(f'*{suffix}' for suffix in sorted(CLIP_SUFFIXES))});;All files (*)"
IMAGE_FILTER = f"Images ({' '.join(f'*{suffix}' for suffix in sorted(IMAGE_SUFFIXES))});;All files (*)"
NOTHING_TO_SAVE = "There is no image to save: open a camera, clip, folder or image first."
INVITATION = "Choose a camera, open a clip or folder, or drop one here"
MOVE_THE_LIGHT = "Drag with the right mouse button to move the light; double-click to reset it."
NO_LIGHT_TO_MOVE = "Studio light is shown in texture (T) and shaded (P) only."
BANNER_MARGIN_PX = 14
MESSAGE_MS = 10_000
"""How long a message stays in the status bar."""
LAST_FOLDER, MESH_FOLDER = "last_folder", "mesh_folder"


class MainWindow(QMainWindow):
    """Main window, which connects the widgets and the controller."""

    result_painted = pyqtSignal(object)
    """FrameResult, once, when it is on the screen"""

    def __init__(self, controller: Controller, display: ModelDisplay, log_buffer: LogBuffer | None = None) -> None:
        super().__init__()
        self.setWindowTitle("handviz")
        self.setAcceptDrops(True)
        self._controller = controller
        self._display = display
        self._shown: FrameResult | None = None
        self._last_painted: FrameResult | None = None
        self.viewport = Viewport(display)
        self.source_panel = SourcePanel(controller)
        self.view_panel = ViewPanel(controller)
        self.timeline = Timeline(controller)
        self.invitation = named_label("invitation", INVITATION, wraps=True)
        self.banner = named_label("banner", wraps=True)
        self.message = ElidedLabel()
        self._expiry = single_shot(self, MESSAGE_MS, self._expire_message)
        self.pages = QTabWidget()
        self.toasts = Toasts(self.pages)
        self.welcome = Welcome(self.pages)
        self.log_window = LogWindow(log_buffer, self) if log_buffer is not None else None
        self.stages = LiveLabel("faint")
        self._lay_out()
        self.features: Sequence[Feature] = self._make_features()
        self.shortcuts = [*self._make_shortcuts(), *(one for part in self.features for one in part.shortcuts())]
        install(self, self.shortcuts, lambda: controller.settings)
        self._connect(controller)
        self._apply_settings(controller.settings)
        focus_by_tab_only(self)
        let_wheel_scroll(self)
        give_keyboard_back(self)
        # The viewport has the focus first.
        self.viewport.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.viewport.setFocus()

    def _lay_out(self) -> None:
        for label in (self.invitation, self.banner):
            label.setParent(self.viewport)
        self.invitation.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.banner.hide()
        centre = QWidget()
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.viewport, 1)
        column.addWidget(self.timeline)
        content = QWidget()
        row = QHBoxLayout(content)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self.source_panel)
        row.addWidget(centre, 1)
        row.addWidget(self.view_panel)
        self.pages.addTab(content, "Live")
        self.pages.setDocumentMode(True)
        self.setCentralWidget(self.pages)
        bar = self.statusBar()
        assert bar is not None
        bar.setSizeGripEnabled(False)
        bar.setContentsMargins(10, 0, 10, 0)
        bar.addWidget(self.message, 1)
        bar.addPermanentWidget(self.stages)
        bar.addPermanentWidget(named_label("faint", "  ·  F1: shortcuts"))

    def _connect(self, controller: Controller) -> None:
        controller.answered.connect(self._show_answer)
        controller.source_changing.connect(self._show_changing)
        controller.source_opened.connect(lambda info: self.setWindowTitle(f"{info.name} - handviz"))
        controller.settings_changed.connect(self._apply_settings)
        controller.status_changed.connect(self.show_status)
        controller.warned.connect(self.toasts.show_toast)
        controller.saved.connect(self.toasts.show_saved)
        self.view_panel.numbers.summarised.connect(self.stages.setText)
        self.view_panel.range_fit_wanted.connect(self.fit_range)
        self.view_panel.range_lock_wanted.connect(self.lock_range)
        self.viewport.painted.connect(self._on_painted)
        self.viewport.failed.connect(controller.report_view)
        self.source_panel.clip_wanted.connect(self.open_clip)
        self.source_panel.folder_wanted.connect(self.open_folder)
        self.source_panel.image_wanted.connect(self.open_image)
        self.source_panel.meshes_wanted.connect(self.save_meshes)

    def _make_features(self) -> list[Feature]:
        """Return the features, which add their own widgets; the layout is last, because it needs all groups."""
        self.inspection = InspectionFeature(self._controller, self.pages, self._display)
        self.several_views = SeveralViews(self._controller, self.pages, self._display)
        inspector = PointInspector(self._controller, self.viewport, self.view_panel)
        self.distribution = Distribution(self._controller, inspector, self.view_panel)
        hand_actions = HandActions(self._controller, inspector, self.source_panel)
        output = OutputPanel(self.source_panel)
        self.figures = Figures(
            self._controller,
            self._in_front,
            inspector.picked_index,
            panel=output,
            parent=self,
            display=self._display,
        )
        inspector.nothing_to_deselect.connect(self._leave_full_screen)
        return [
            CameraFeature(self._controller, self.viewport, self.source_panel.camera_model),
            SourceFeature(self._controller, self.source_panel, self.timeline, self),
            self.inspection,
            self.several_views,
            Recorder(self._controller, self.viewport, output),
            TransparentExport(self._controller, self.viewport, output),
            self.figures,
            Streaming(self._controller, output),
            AnimationExport(self._controller, self, output),
            inspector,
            hand_actions,
            self.distribution,
            Navigation(self._controller, self.viewport, inspector.picked_index),
            Compare(self._controller, self.viewport, self.view_panel),
            NetworkViews(self._controller, self.view_panel),
            WindowLayout(self, self._controller, (self.source_panel, self.view_panel)),
        ]

    def _leave_full_screen(self) -> None:
        if self.isFullScreen():
            self.showNormal()

    def _make_shortcuts(self) -> list[Shortcut]:
        controller = self._controller

        def choose(name: str, form: str = "{}", menu: MenuName = "View") -> list[Shortcut]:
            return [
                Shortcut(
                    (choice.key,) if choice.key else (),
                    form.format(choice.label),
                    partial(controller.change, **{name: choice.value}),
                    menu,
                    (name, choice.value),
                )
                for choice in choices_of(name)
            ]

        def switch(text: str, name: str, key: str, menu: MenuName = "View") -> Shortcut:
            def toggle() -> None:
                controller.change(**{name: not value_of(controller.settings, name)})

            return Shortcut((key,), text, toggle, menu, (name, True))

        return [
            *choose("model", menu="Model"),
            *(
                replace(shortcut, action=partial(controller.choose_colour, choice.value))
                for shortcut, choice in zip(
                    choose("shown_colour", "Colour: {}"), choices_of("shown_colour"), strict=True
                )
            ),
            *self.view_panel.shortcuts,
            Shortcut((), "Colour scale: fit once", self.fit_range),
            Shortcut((), "Colour scale: lock", self.lock_range),
            Shortcut(("Ctrl+R",), "Reset texture", controller.forget_texture),
            Shortcut(("Ctrl+Z",), "Undo change of settings", controller.undo),
            Shortcut(("Ctrl+Shift+Z", "Ctrl+Y"), "Redo change of settings", controller.redo),
            Shortcut(("O", "F"), "Overlay / 3D view", self._toggle_view),
            Shortcut(("K",), "Kalman / One Euro smoothing", self._toggle_smoothing),
            switch("Mirror the display", "mirror", "M"),
            Shortcut(("Space",), "Play / pause", controller.toggle_playing, menu="Source"),
            Shortcut(("Left",), "Previous frame", lambda: controller.step(-1), menu="Source"),
            Shortcut(("Right",), "Next frame", lambda: controller.step(1), menu="Source"),
            switch("Loop", "loop", "L", menu="Source"),
            switch("Reconstruct every frame of clips", "every_frame", "Shift+L", menu="Source"),
            Shortcut(("Ctrl+S",), "Save screenshot", self.save_screenshot, menu="File"),
            Shortcut(("Ctrl+Shift+S",), "Save screenshot as…", self.save_screenshot_elsewhere, menu="File"),
            Shortcut(("Ctrl+E",), "Save meshes…", self.save_meshes, menu="File"),
            Shortcut(("Ctrl+O",), "Open clip…", self.open_clip, menu="Source"),
            Shortcut((), "Open folder…", self.open_folder, menu="Source"),
            Shortcut((), "Open image…", self.open_image, menu="Source"),
            Shortcut((), "Refresh camera list", controller.find_cameras, menu="Source"),
            Shortcut(("Ctrl+Q",), "Quit", self.close, menu="File"),
            *choose("theme", "Theme: {}"),
            Shortcut(("F12",), "Log", self.show_log, menu="Tools"),
            Shortcut((), "Welcome", self.welcome.appear, menu="Help"),
            Shortcut((), "About handviz…", self.show_about, menu="Help"),
            Shortcut(("F1",), "Keyboard shortcuts", self.show_shortcuts, menu="Help"),
        ]

    def _toggle_view(self) -> None:
        self._controller.change(view="overlay" if self._controller.settings.draw.view == "orbit" else "orbit")

    def _toggle_smoothing(self) -> None:
        kind = self._controller.settings.pipeline.smoothing_kind
        self._controller.change(smoothing_kind="one_euro" if kind == "kalman" else "kalman")

    def welcome_once(self) -> None:
        """Show the welcome panel at the first start."""
        store = self._controller.store
        if store.text(WELCOMED) != "true":
            store.save_text(WELCOMED, "true")
            self.welcome.appear()

    def show_log(self) -> None:
        """Open the log window."""
        if self.log_window is not None:
            self.log_window.show()
            self.log_window.raise_()

    def show_status(self, status: Status) -> None:
        """Show a message in the status bar, and an error over the image too."""
        self.message.setText(status.answer or status.text)
        self._expiry.start()
        self.banner.setText(status.text if status.is_error else "")
        self.banner.setVisible(status.is_error)
        if self._controller.source is None or status.is_error:
            self.invitation.setText(INVITATION if status.is_error else status.text)
        self._place_labels()

    def _expire_message(self) -> None:
        """Take away a message that was there long enough; errors stay as long as what they are about."""
        self.message.setText(self.banner.text())

    def show_about(self) -> None:
        """Open the dialog with version, models and licences."""
        AboutDialog(self.viewport.device_name, self).show()

    def show_shortcuts(self) -> None:
        """Open the list of keyboard shortcuts."""
        ShortcutWindow(self.shortcuts, self).show()

    def fit_range(self) -> None:
        """Give the colour scale ends that fit the hands on the screen."""
        range_mm = self._in_front()[0].fitted_range_mm()
        if range_mm is None:
            self._controller.notify("No hand with an uncertainty is shown to fit the colour scale to.")
        else:
            self._controller.set_range(range_mm)

    def lock_range(self) -> None:
        """Keep the ends that the colour scale has now."""
        range_mm = self._in_front()[0].range_mm()
        if range_mm is not None:
            self._controller.set_range(range_mm)

    def save_screenshot(self) -> None:
        """Save the view, legend included, into the chosen folder or the user's folder for images."""
        if self._in_front()[1] is None:
            self._controller.notify(NOTHING_TO_SAVE)
            return
        folder = self._controller.store.text(SCREENSHOT_FOLDER)
        self._save_view(free_path(Path(folder) if folder else images_folder(), self.figures.stem(), datetime.now()))

    def save_screenshot_elsewhere(self) -> None:
        """Ask for a folder, which is used from now on, and save the view there."""
        store = self._controller.store
        start = store.text(SCREENSHOT_FOLDER) or str(images_folder())
        folder = QFileDialog.getExistingDirectory(self, "Folder for screenshots", start)
        if folder:
            store.save_text(SCREENSHOT_FOLDER, folder)
            self.save_screenshot()

    def save_meshes(self) -> None:
        """Ask for a file and write every hand of the present result, in its colours."""
        # The stream continues behind the dialog.
        (viewport, result), settings = self._in_front(), self._controller.settings
        colour, range_mm = viewport.options.colour, viewport.range_mm()
        if result is None or not result.hands:
            self._controller.notify("There is no hand in this image to save.")
            return
        store = self._controller.store
        folder = store.text(MESH_FOLDER) or str(images_folder())
        name = timed_name(f"handviz_{settings.pipeline.model}_{colour}", datetime.now())
        start, title = str(Path(folder) / name), "Save meshes"
        chosen, chosen_filter = QFileDialog.getSaveFileName(self, title, start, ";;".join(MESH_FORMATS))
        if chosen:
            store.save_text(MESH_FOLDER, str(Path(chosen).parent))
            suffix = MESH_FORMATS.get(chosen_filter, ".glb")
            self._controller.save_meshes(
                MeshRequest(Path(chosen), suffix, result, colour, range_mm, viewport.options.colour_map)
            )

    def open_clip(self) -> None:
        """Ask for a clip."""
        self._open(QFileDialog.getOpenFileName(self, "Open clip", self._last_folder(), CLIP_FILTER)[0])

    def open_image(self) -> None:
        """Ask for an image."""
        self._open(QFileDialog.getOpenFileName(self, "Open image", self._last_folder(), IMAGE_FILTER)[0])

    def open_folder(self) -> None:
        """Ask for a folder of images."""
        self._open(QFileDialog.getExistingDirectory(self, "Open folder", self._last_folder()))

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:  # noqa: N802
        """Accept files."""
        welcome(event)

    def dropEvent(self, event: QDropEvent | None) -> None:  # noqa: N802
        """Open what was dropped; a message names what is not used."""
        paths = dropped_paths(event)
        if paths:
            source = choose_dropped([Path(path) for path in paths])
            self._open(source.text)
            if source.message:
                self._controller.warn(source.message)
        else:
            self._controller.warn("Only files and folders of this machine can be dropped here.")

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """Keep the labels over the viewport in place."""
        super().resizeEvent(event)
        self._place_labels()

    def closeEvent(self, event: QCloseEvent | None) -> None:  # noqa: N802
        """Stop the threads, then free the OpenGL objects."""
        for feature in self.features:
            feature.stop()
        self._controller.close()
        self.view_panel.numbers.stop()
        self.viewport.release_gl()
        super().closeEvent(event)

    def _open(self, path: str) -> None:
        if path:
            if not path.startswith(IMAGES_PREFIX):
                self._controller.store.save_text(LAST_FOLDER, str(Path(path).parent))
            self._controller.open(path)

    def _last_folder(self) -> str:
        return self._controller.store.text(LAST_FOLDER)

    def _in_front(self) -> tuple[Viewport, FrameResult | None]:
        """Return the large view of the page in front, and its result."""
        if self.pages.currentWidget() is self.inspection.page:
            return self.inspection.page.detail.large, self.inspection.page.detail.result
        first = next(iter(self.several_views.page.panes.values()), None)
        if first is not None and self.several_views.is_in_front:
            return first.viewport, first.result
        return self.viewport, self._shown

    def _save_view(self, path: Path) -> None:
        try:
            save_image(self.figures.image(), path)
            self._controller.report_saved(f"Saved {path}", path.parent)
        except HandvizError as error:
            self._controller.warn(str(error))

    def _show_answer(self, answer: Answer) -> None:
        self._shown = answer.result
        self.invitation.hide()
        self.view_panel.numbers.take_answer(answer)
        self.viewport.show_result(answer.result)

    def _show_changing(self, _: str) -> None:
        self._shown = None
        self.setWindowTitle("handviz")
        self.viewport.show_result(None)
        self.view_panel.numbers.clear()
        self.invitation.show()
        self._place_labels()

    def _apply_settings(self, settings: ViewSettings) -> None:
        before, options = self.viewport.options, drawn_with(settings)
        self.viewport.set_options(options)
        if options.mark_inferred and not before.mark_inferred and options.colour != "texture":
            self._controller.notify("Unobserved regions are hatched in texture colour (T).")
        if options.relight and not before.relight:
            self._controller.notify(MOVE_THE_LIGHT if options.light_can_move else NO_LIGHT_TO_MOVE)

    def _on_painted(self, result: FrameResult | None, draw_ms: float) -> None:
        self.view_panel.numbers.take_paint(draw_ms)
        if result is not None and result is not self._last_painted:
            self._last_painted = result
            self.result_painted.emit(result)

    def _place_labels(self) -> None:
        width, height = self.viewport.width(), self.viewport.height()
        self.invitation.setGeometry(0, 0, width, height)
        banner_width = max(width - 2 * BANNER_MARGIN_PX, 100)
        banner_height = self.banner.heightForWidth(banner_width)
        self.banner.setGeometry(BANNER_MARGIN_PX, BANNER_MARGIN_PX, banner_width, banner_height)
