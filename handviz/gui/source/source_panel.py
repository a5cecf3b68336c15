"""Left: where the images come from, and the camera's lens."""

from collections.abc import Sequence

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtGui import QCursor
from PyQt6.QtWidgets import QComboBox, QMenu, QToolButton, QWidget

from handviz.core.records import HandednessSetting
from handviz.gui.calibration.panel import CameraModelControls, position_text, wrist_distance_text
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer, SourceInfo, SourceLength
from handviz.gui.session.settings import ViewSettings
from handviz.gui.source.timeline import Timeline
from handviz.gui.widgets.controls import Panel, combo_box, named_label, push_button, row_of
from handviz.gui.widgets.shortcuts import Feature, Shortcut
from handviz.sources.camera import OFFERED_MODES, CameraMode
from handviz.sources.source import CAMERA_PREFIX, IMAGES_PREFIX, CameraInfo

SIDE_TEXTS: dict[HandednessSetting, str] = {
    "detected": "left and right as detected",
    "left": "all are left hands",
    "right": "all are right hands",
}
NO_CAMERA_TEXT = "no camera found"
CHOOSE_TEXT = "choose a camera …"
MAX_MENU_TEXT = 60
LONG_STEP = 10


class SourcePanel(Panel):
    """Follows and drives a controller; asks the window for files."""

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
        controller.turned.connect(self.show_rotation)
        controller.settings_changed.connect(self.show_settings)
        controller.answered.connect(self._show_hands)
        self.show_settings(controller.settings)

    def _add_source_group(self) -> None:
        self.group("Source")
        self.cameras = QComboBox()
        self.cameras.setToolTip("The cameras that the system names")
        self.cameras.addItem("looking for cameras …")
        self.cameras.activated.connect(self._choose_camera)
        again = QToolButton()
        again.setText("↻")
        again.setToolTip("Look for cameras again")
        again.clicked.connect(self._controller.find_cameras)
        self.column.addLayout(row_of(self.cameras, again, wide=self.cameras))
        self._add_mode_row()
        buttons = (
            ("Open clip …", self.clip_wanted, "A video file (Ctrl+O)"),
            ("Open folder …", self.folder_wanted, "A folder of images, one after the other"),
            ("Open image …", self.image_wanted, "One image"),
        )
        for text, wanted, hint in buttons:
            self.column.addWidget(push_button(text, hint, wanted.emit))
        self.recent = push_button("Open recent", "Clips, folders and images that were opened last")
        self.recent_menu = QMenu(self.recent)
        self.recent_menu.aboutToShow.connect(self._fill_recent)
        self.recent.setMenu(self.recent_menu)
        self.column.addWidget(self.recent)
        self._add_rotation_row()
        self.description = named_label("faint", "Or drop a clip, a folder or an image on the window.", wraps=True)
        self.column.addWidget(self.description)

    def _add_mode_row(self) -> None:
        self.modes = QComboBox()
        self.modes.setToolTip("Size and rate to ask the camera for; what it really gives is said below")
        self.modes.activated.connect(lambda row: self._controller.set_camera_mode(self.modes.itemData(row)))
        self.mode_row = _row("Image", self.modes)
        self.column.addWidget(self.mode_row)
        self.mode_row.hide()

    def _add_rotation_row(self) -> None:
        self.rotation_state = named_label("number", "0°")
        left, right = QToolButton(), QToolButton()
        for button, text, by_deg, hint in (
            (left, "↺", -90, "Turn the image to the left"),
            (right, "↻", 90, "Turn the image to the right (Ctrl+B)"),
        ):
            button.setText(text)
            button.setToolTip(f"{hint}; it is remembered for this source")
            button.clicked.connect(lambda _=False, by_deg=by_deg: self._controller.turn(by_deg))
        self.turn_left, self.turn_right = left, right
        self.column.addWidget(_row("Turned", self.rotation_state, left, right))

    def _add_camera_model_group(self) -> None:
        self.group("Camera")
        self.camera_model = CameraModelControls(self._controller)
        self.column.addWidget(self.camera_model)

    def _add_hands_group(self) -> None:
        self.group("Hands")
        hint = "Write every hand of this image as GLB, OBJ or PLY (Ctrl+E)"
        self.save_meshes = push_button("Save meshes …", hint, self.meshes_wanted.emit)
        self.column.addWidget(self.save_meshes)
        self.sides = combo_box(SIDE_TEXTS, "Which hand is which, where the detector gets it wrong")
        self.sides.activated.connect(lambda row: self._controller.change(side=self.sides.itemData(row)))
        self.column.addWidget(self.sides)
        self.hands = named_label("", "none yet", wraps=True)
        self.hands.setToolTip("Places are the camera's: right, down, and away from it; ± is one standard deviation")
        self.column.addWidget(self.hands)

    def show_cameras(self, cameras: list[CameraInfo]) -> None:
        """Fill the list with the system's names."""
        self._camera_texts = [f"{CAMERA_PREFIX}{camera.index}" for camera in cameras]
        self.cameras.clear()
        self.cameras.addItem(CHOOSE_TEXT if cameras else NO_CAMERA_TEXT)
        for camera in cameras:
            self.cameras.addItem(f"{camera.name} ({camera.index})")
        source = self._controller.source
        self._mark_camera(source.text if source else "")

    def show_source(self, info: SourceInfo) -> None:
        """Say what was really opened."""
        self.description.setText(info.description)
        self._mark_camera(info.text)
        self._show_mode(info.text)

    def show_length(self, length: SourceLength) -> None:
        """Say how many images a folder has now."""
        self.description.setText(length.description)

    def show_rotation(self, rotation_deg: int) -> None:
        """Say how far images are turned."""
        self.rotation_state.setText(f"{rotation_deg}°")

    def show_recent(self) -> None:
        """Open the list of sources that were used lately."""
        place = self.recent.mapToGlobal(self.recent.rect().bottomLeft())
        self.recent_menu.popup(place if self.recent.isVisible() else QCursor.pos())

    def show_settings(self, settings: ViewSettings) -> None:
        """Follow settings that were changed elsewhere."""
        self.sides.setCurrentIndex(self.sides.findData(settings.side))

    def _show_changing(self, text: str) -> None:
        self.description.setText("chosen images …" if text.startswith(IMAGES_PREFIX) else f"{text} …")
        self.hands.setText("none yet")
        self._mark_camera(text)
        self._show_mode(text)

    def _show_hands(self, answer: Answer) -> None:
        lines = [
            f"{hand.handedness}, score {hand.detection_score:.2f}\n"
            f"standard deviation {hand.vertex_std_mm.mean():.1f} mm, at most {hand.vertex_std_mm.max():.1f} mm\n"
            f"{position_text(hand)}"
            for hand in answer.result.hands
        ]
        lines += [apart] if (apart := wrist_distance_text(answer.result.hands)) else []
        text = "\n\n".join(lines) or "no hand in this image"
        if text != self.hands.text():
            self.hands.setText(text)

    def _mark_camera(self, text: str) -> None:
        # While the one in use is away, another may have taken its number.
        in_use = self._controller.camera_in_use
        listed = self._controller.listed_camera(text)
        is_it = text in self._camera_texts and (in_use is None or listed is None or in_use.is_same(listed))
        self.cameras.setCurrentIndex(self._camera_texts.index(text) + 1 if is_it else 0)

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
            nothing = self.recent_menu.addAction("nothing yet")
            assert nothing is not None
            nothing.setEnabled(False)


def _row(title: str, *widgets: QWidget) -> QWidget:
    whole, label = QWidget(), named_label("", title)
    row = row_of(label, *widgets, wide=label)
    row.setContentsMargins(0, 0, 0, 0)
    whole.setLayout(row)
    return whole


def _mode_text(mode: CameraMode) -> str:
    return f"{mode.width} × {mode.height}, {mode.fps:.3g} fps"


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_MENU_TEXT else f"… {text[-MAX_MENU_TEXT:]}"


# What can be done with a source by keys and menus beyond holding and single steps.


class SourceFeature(Feature):
    """Ten frames at once, ends, speed, a frame by its number, turning, and the sources that were used lately."""

    def __init__(self, controller: Controller, panel: SourcePanel, timeline: Timeline, parent: QWidget) -> None:
        super().__init__(parent)
        self._controller, self._panel, self._timeline = controller, panel, timeline

    def shortcuts(self) -> Sequence[Shortcut]:
        """All in the menu of sources."""
        controller = self._controller
        return (
            Shortcut(("Shift+Left",), "ten frames back", lambda: controller.step(-LONG_STEP), menu="Source"),
            Shortcut(("Shift+Right",), "ten frames on", lambda: controller.step(LONG_STEP), menu="Source"),
            Shortcut(("Home",), "the first frame", lambda: controller.seek(0), menu="Source"),
            Shortcut(("End",), "the last frame", controller.go_to_end, menu="Source"),
            Shortcut(("Ctrl+G",), "go to a frame …", self._timeline.begin_going_to, menu="Source"),
            Shortcut(("[",), "play slower", lambda: controller.change_speed(-1), menu="Source"),
            Shortcut(("]",), "play faster", lambda: controller.change_speed(1), menu="Source"),
            Shortcut(("Ctrl+B",), "turn the image by 90°", controller.turn, menu="Source"),
            Shortcut((), "open something recent …", self._panel.show_recent, menu="Source"),
        )
