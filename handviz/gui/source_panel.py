"""Left: where the pictures come from, and the camera's lens."""

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QToolButton, QWidget

from handviz.capture.sources import CameraInfo
from handviz.gui.controller import CAMERA_PREFIX, Controller
from handviz.gui.lens_panel import LensPart
from handviz.gui.messages import Answer, SourceInfo
from handviz.gui.parts import Panel, named_label
from handviz.gui.place_text import apart_text, place_text
from handviz.gui.settings import ViewSettings
from handviz.records import SideChoice

SIDE_TEXTS: dict[SideChoice, str] = {
    "detected": "left and right as detected",
    "left": "all are left hands",
    "right": "all are right hands",
}
NO_CAMERA_TEXT = "no camera found"
CHOOSE_TEXT = "choose a camera …"


class SourcePanel(Panel):
    """Follows and drives a controller; asks the window for files."""

    clip_wanted = pyqtSignal()
    folder_wanted = pyqtSignal()
    picture_wanted = pyqtSignal()
    meshes_wanted = pyqtSignal()

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller = controller
        self._camera_texts: list[str] = []
        self._add_source_group()
        self._add_lens_group()
        self._add_hands_group()
        controller.cameras_found.connect(self.show_cameras)
        controller.source_changing.connect(self._show_changing)
        controller.source_opened.connect(self.show_source)
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
        row = QHBoxLayout()
        row.addWidget(self.cameras, 1)
        row.addWidget(again)
        self.column.addLayout(row)
        buttons = (
            ("Open clip …", self.clip_wanted, "A video file (Ctrl+O)"),
            ("Open folder …", self.folder_wanted, "A folder of pictures, one after the other"),
            ("Open picture …", self.picture_wanted, "One picture"),
        )
        for text, wanted, hint in buttons:
            button = QPushButton(text)
            button.setToolTip(hint)
            button.clicked.connect(wanted.emit)
            self.column.addWidget(button)
        self.description = named_label("faint", "Or drop a clip, a folder or a picture on the window.", wraps=True)
        self.column.addWidget(self.description)

    def _add_lens_group(self) -> None:
        self.group("Camera")
        self.lens = LensPart(self._controller)
        self.column.addWidget(self.lens)

    def _add_hands_group(self) -> None:
        self.group("Hands")
        self.save_meshes = QPushButton("Save meshes …")
        self.save_meshes.setToolTip("Write every hand of this picture as GLB, OBJ or PLY (Ctrl+E)")
        self.save_meshes.clicked.connect(self.meshes_wanted.emit)
        self.column.addWidget(self.save_meshes)
        self.sides = QComboBox()
        self.sides.setToolTip("Which hand is which, where the detector gets it wrong")
        for choice, text in SIDE_TEXTS.items():
            self.sides.addItem(text, choice)
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

    def show_settings(self, settings: ViewSettings) -> None:
        """Follow settings that were changed elsewhere."""
        self.sides.setCurrentIndex(self.sides.findData(settings.side))

    def _show_changing(self, text: str) -> None:
        self.description.setText(f"{text} …")
        self.hands.setText("none yet")
        self._mark_camera(text)

    def _show_hands(self, answer: Answer) -> None:
        lines = [
            f"{hand.handedness}, score {hand.detection_score:.2f}\n"
            f"deviation {hand.vertex_std_mm.mean():.1f} mm, at most {hand.vertex_std_mm.max():.1f} mm\n"
            f"{place_text(hand)}"
            for hand in answer.result.hands
        ]
        lines += [apart] if (apart := apart_text(answer.result.hands)) else []
        text = "\n\n".join(lines) or "no hand in this picture"
        if text != self.hands.text():
            self.hands.setText(text)

    def _mark_camera(self, text: str) -> None:
        index = self._camera_texts.index(text) + 1 if text in self._camera_texts else 0
        self.cameras.setCurrentIndex(index)

    def _choose_camera(self, row: int) -> None:
        if row > 0:
            self._controller.open(self._camera_texts[row - 1])
