"""Left panel: source, camera intrinsics and hands."""

from collections.abc import Sequence

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtGui import QCursor
from PyQt6.QtWidgets import QComboBox, QMenu, QToolButton, QWidget

from handviz.core.records import FloatArray, FrameResult, HandMesh, left_out_text
from handviz.core.shape_posterior import CONTRADICTION
from handviz.gui.calibration.panel import CameraModelControls, position_text, wrist_distance_text
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer, SourceInfo, SourceLength
from handviz.gui.source.timeline import Timeline
from handviz.gui.widgets.bind import choice_box
from handviz.gui.widgets.choices import SIDE_HINT
from handviz.gui.widgets.controls import Panel, named_label, push_button, row_of
from handviz.gui.widgets.shortcuts import Feature, Shortcut
from handviz.sources.camera import OFFERED_MODES, CameraMode
from handviz.sources.images import note_on_light
from handviz.sources.source import CAMERA_PREFIX, IMAGES_PREFIX, CameraInfo

NO_CAMERA_TEXT = "No camera found"
CHOOSE_TEXT = "Choose a camera…"
MAX_MENU_TEXT = 60
LONG_STEP = 10


class SourcePanel(Panel):
    """Panel that shows and changes the source; asks the window for files."""

    clip_wanted = pyqtSignal()
    folder_wanted = pyqtSignal()
    image_wanted = pyqtSignal()
    meshes_wanted = pyqtSignal()

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller = controller
        self._camera_texts: list[str] = []
        self._add_source_group()
        self._add_camera_model_group()
        self._add_hands_group()
        controller.cameras_found.connect(self.show_cameras)
        controller.source_changing.connect(self._show_changing)
        controller.source_opened.connect(self.show_source)
        controller.length_changed.connect(self.show_length)
        controller.rotated.connect(self.show_rotation)
        controller.reported.connect(self._show_hands)

    def _add_source_group(self) -> None:
        self.group("Source")
        self.cameras = QComboBox()
        self.cameras.setToolTip("Cameras of this system")
        self.cameras.addItem("Looking for cameras…")
        self.cameras.activated.connect(self._choose_camera)
        refresh = QToolButton()
        refresh.setText("↻")
        refresh.setToolTip("Refresh camera list")
        refresh.clicked.connect(self._controller.find_cameras)
        self.column.addLayout(row_of(self.cameras, refresh, wide=self.cameras))
        self._add_mode_row()
        buttons = (
            ("Open clip…", self.clip_wanted, "A video file (Ctrl+O)"),
            ("Open folder…", self.folder_wanted, "A folder of images"),
            ("Open image…", self.image_wanted, "One image"),
        )
        for text, wanted, hint in buttons:
            self.column.addWidget(push_button(text, hint, wanted.emit))
        self.recent = push_button("Open recent", "Recently opened clips, folders and images")
        self.recent_menu = QMenu(self.recent)
        self.recent_menu.aboutToShow.connect(self._fill_recent)
        self.recent.setMenu(self.recent_menu)
        self.column.addWidget(self.recent)
        self._add_rotation_row()
        self.description = named_label("faint", "Or drop a clip, folder or image on the window.", wraps=True)
        self.column.addWidget(self.description)

    def _add_mode_row(self) -> None:
        self.modes = QComboBox()
        self.modes.setToolTip("Image size and frame rate to request; the line below states what the camera delivers")
        self.modes.activated.connect(lambda row: self._controller.set_camera_mode(self.modes.itemData(row)))
        self.mode_row = _row("Image size", self.modes)
        self.column.addWidget(self.mode_row)
        self.mode_row.hide()

    def _add_rotation_row(self) -> None:
        self.rotation_state = named_label("number", "0°")
        left, right = QToolButton(), QToolButton()
        for button, text, by_deg, hint in (
            (left, "↺", -90, "Rotate the image left"),
            (right, "↻", 90, "Rotate the image right (Ctrl+B)"),
        ):
            button.setText(text)
            button.setToolTip(f"{hint}; saved for this source")
            button.clicked.connect(lambda _=False, by_deg=by_deg: self._controller.rotate(by_deg))
        self.rotate_left, self.rotate_right = left, right
        self.column.addWidget(_row("Rotation", self.rotation_state, left, right))

    def _add_camera_model_group(self) -> None:
        self.group("Camera")
        self.camera_model = CameraModelControls(self._controller)
        self.column.addWidget(self.camera_model)

    def _add_hands_group(self) -> None:
        self.group("Hands")
        hint = "Save every hand of this image as GLB, OBJ or PLY (Ctrl+E)"
        self.save_meshes = push_button("Save meshes…", hint, self.meshes_wanted.emit)
        self.column.addWidget(self.save_meshes)
        self.sides = choice_box("side", self._controller, SIDE_HINT)
        self.column.addWidget(_row("Handedness", self.sides))
        self.hands = named_label("", "None yet", wraps=True)
        self.hands.setToolTip("Camera axes: x right, y down, z forward; ± is one standard deviation (sigma)")
        self.column.addWidget(self.hands)

    def show_cameras(self, cameras: list[CameraInfo]) -> None:
        """Fill the list of cameras."""
        self._camera_texts = [f"{CAMERA_PREFIX}{camera.index}" for camera in cameras]
        self.cameras.clear()
        self.cameras.addItem(CHOOSE_TEXT if cameras else NO_CAMERA_TEXT)
        for camera in cameras:
            self.cameras.addItem(f"{camera.name} ({camera.index})")
        source = self._controller.source
        self._mark_camera(source.text if source else "")

    def show_source(self, info: SourceInfo) -> None:
        """Show what was opened."""
        self.description.setText(info.description)
        self._mark_camera(info.text)
        self._show_mode(info.text)

    def show_length(self, length: SourceLength) -> None:
        """Show the present length of the source."""
        self.description.setText(length.description)

    def show_rotation(self, rotation_deg: int) -> None:
        """Show the rotation of the images."""
        self.rotation_state.setText(f"{rotation_deg}°")

    def show_recent(self) -> None:
        """Open the menu of recent sources."""
        position = self.recent.mapToGlobal(self.recent.rect().bottomLeft())
        self.recent_menu.popup(position if self.recent.isVisible() else QCursor.pos())

    def _show_changing(self, text: str) -> None:
        self.description.setText(f"Opening {'chosen images' if text.startswith(IMAGES_PREFIX) else text}…")
        self.hands.setText("None yet")
        self._mark_camera(text)
        self._show_mode(text)

    def _show_hands(self, answer: Answer) -> None:
        lines = [
            f"{hand.track_id} · {hand.handedness.capitalize()}, score {hand.detection_score:.2f}\n"
            f"{uncertainty_text(hand)}\n"
            f"{position_text(hand)}"
            for hand in answer.result.hands
        ]
        hands = answer.result.hands
        lines = [left_out_text(len(hands), answer.result.left_out), *lines, wrist_distance_text(hands)]
        text = "\n\n".join(filter(None, lines)) or _no_hand_text(answer.result)
        if text != self.hands.text():
            self.hands.setText(text)

    def _mark_camera(self, text: str) -> None:
        # While the camera in use is unplugged, another may have taken its number.
        in_use = self._controller.camera_in_use
        listed = self._controller.listed_camera(text)
        is_listed = text in self._camera_texts and (in_use is None or listed is None or in_use.is_same(listed))
        self.cameras.setCurrentIndex(self._camera_texts.index(text) + 1 if is_listed else 0)

    def _choose_camera(self, row: int) -> None:
        if row > 0:
            self._controller.open(self._camera_texts[row - 1])

    def _show_mode(self, text: str) -> None:
        self.mode_row.setVisible(text.startswith(CAMERA_PREFIX))
        wanted = self._controller.camera_mode
        modes = OFFERED_MODES if wanted in OFFERED_MODES else (wanted, *OFFERED_MODES)
        self.modes.clear()
        for mode in modes:
            self.modes.addItem(_mode_text(mode), mode)
        self.modes.setCurrentIndex(modes.index(wanted))

    def _fill_recent(self) -> None:
        self.recent_menu.clear()
        for text in self._controller.memory.recent():
            action = self.recent_menu.addAction(_shortened(text).replace("&", "&&"))
            assert action is not None
            action.setToolTip(text)
            action.triggered.connect(lambda _=False, text=text: self._controller.open(text))
        if self.recent_menu.isEmpty():
            nothing = self.recent_menu.addAction("None yet")
            assert nothing is not None
            nothing.setEnabled(False)


def uncertainty_text(hand: HandMesh) -> str:
    """Return the mean and largest standard deviation of a hand, or that its model predicts none, or one for all.

    A second line says so where network and landmarks contradict each other.
    """
    if hand.vertex_std_mm is None:
        return "no uncertainty: none predicted"
    if hand.shape is not None and hand.shape.contradicts:
        return f"{_std_text(hand, hand.vertex_std_mm)}\n{CONTRADICTION}"
    return _std_text(hand, hand.vertex_std_mm)


def _std_text(hand: HandMesh, std_mm: FloatArray) -> str:
    mean = f"sigma mean {std_mm.mean():.1f}"
    if hand.uncertainty == "constant":
        return f"{mean} mm for all vertices"
    return f"{mean}, max {std_mm.max():.1f} mm"


def _no_hand_text(result: FrameResult) -> str:
    """Return the text for an image without hands, with the reason if it shows nothing; frames of clips may be black."""
    if result.failure:
        return "No hands: the model failed"
    if result.hidden:
        return "No other hand in this image"
    reason = note_on_light(result.frame.image) if result.frame.name else ""
    return f"No hand in this image: {reason}" if reason else "No hand in this image"


def _row(title: str, *widgets: QWidget) -> QWidget:
    whole, label = QWidget(), named_label("", title)
    row = row_of(label, *widgets, wide=label)
    row.setContentsMargins(0, 0, 0, 0)
    whole.setLayout(row)
    return whole


def _mode_text(mode: CameraMode) -> str:
    return f"{mode.width} × {mode.height}, {mode.fps:.3g} fps"


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_MENU_TEXT else f"…{text[-MAX_MENU_TEXT:]}"


class SourceFeature(Feature):
    """Shortcuts for seeking, speed, rotation and recent sources."""

    def __init__(self, controller: Controller, panel: SourcePanel, timeline: Timeline, parent: QWidget) -> None:
        super().__init__(parent)
        self._controller, self._panel, self._timeline = controller, panel, timeline

    def shortcuts(self) -> Sequence[Shortcut]:
        """Return the shortcuts of the menu Source."""
        controller = self._controller
        return (
            Shortcut(("Shift+Left",), "-10 frames", lambda: controller.step(-LONG_STEP), menu="Source"),
            Shortcut(("Shift+Right",), "+10 frames", lambda: controller.step(LONG_STEP), menu="Source"),
            Shortcut(("Home",), "First frame", lambda: controller.seek(0), menu="Source"),
            Shortcut(("End",), "Last frame", controller.go_to_end, menu="Source"),
            Shortcut(("Ctrl+G",), "Go to frame…", self._timeline.edit_number, menu="Source"),
            Shortcut(("Ctrl+[",), "In point at this frame", self._timeline.set_in_point, menu="Source"),
            Shortcut(("Ctrl+]",), "Out point at this frame", self._timeline.set_out_point, menu="Source"),
            Shortcut(("Ctrl+\\",), "Clear in and out point", self._timeline.clear_span, menu="Source"),
            Shortcut(("[",), "Slower", lambda: controller.change_speed(-1), menu="Source"),
            Shortcut(("]",), "Faster", lambda: controller.change_speed(1), menu="Source"),
            Shortcut(("Ctrl+B",), "Rotate by 90°", controller.rotate, menu="Source"),
            Shortcut((), "Open recent…", self._panel.show_recent, menu="Source"),
        )
