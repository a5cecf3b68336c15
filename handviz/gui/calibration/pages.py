"""Pages of the camera dialog. Each emits what is chosen; none knows a controller."""

from dataclasses import dataclass
from typing import get_args

from PyQt6.QtCore import QSignalBlocker, pyqtSignal
from PyQt6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from handviz.core.camera_model import (
    ANGLE_LIMITS_DEG,
    HAND_LIMITS_MM,
    HAND_STD_LIMITS_MM,
    SIDE_TEXTS,
    AngleSide,
    CameraModel,
    HandMeasure,
    HandSize,
    angle_of_equivalent_deg,
    camera_model_of_intrinsics,
)
from handviz.core.errors import HandvizError
from handviz.core.records import Intrinsics
from handviz.gui.widgets.controls import combo_box, named_label, number_box, push_button, row_of

CHOOSE = "Choose…"
MEASURE_TEXTS: dict[HandMeasure, str] = {
    "none": "Unknown",
    "length": "Length: wrist to fingertip",
    "breadth": "Breadth of the palm",
}
USUAL_MM: dict[HandMeasure, float] = {"none": 185.0, "length": 185.0, "breadth": 82.0}
HOW_TO_MEASURE = (
    "Lay the hand flat on a table, palm up, fingers together, beside a ruler.\n\n"
    "Length: from the crease of the wrist that is nearest to the palm to the tip of the middle finger (not the nail).\n"
    "Breadth: across the palm from the outside of the index finger's knuckle to the outside of the little finger's.\n\n"
    "An image does not determine the size of a hand: a small hand nearby looks like a large one farther away. Meshes "
    "are scaled to the stated size, and distances follow. It applies to all hands until you change it."
)


@dataclass(frozen=True)
class Preset:
    """Field of view of a kind of camera: stated by makers, computed from a 35 mm equivalent, or typical."""

    name: str
    angle_deg: float
    side: AngleSide
    source: str


PRESETS = (
    Preset("Laptop or simple webcam", 60.0, "horizontal", "typical"),
    Preset("Wide webcam", 78.0, "diagonal", "typical"),
    Preset("Logitech C920, C922", 78.0, "diagonal", "typical"),
    Preset("Very wide webcam", 90.0, "diagonal", "typical"),
    Preset("Phone, main camera, 26 mm", angle_of_equivalent_deg(26), "diagonal", "follows from 26 mm"),
    Preset("Phone, main camera, 24 mm", angle_of_equivalent_deg(24), "diagonal", "follows from 24 mm"),
    Preset("Phone, front camera", 80.0, "diagonal", "typical"),
    Preset(
        "Phone, ultra wide, 13 mm", angle_of_equivalent_deg(13), "diagonal", "follows from 13 mm; distorted at edges"
    ),
    Preset("Action camera, wide", 118.0, "horizontal", "typical; strongly distorted"),
    Preset("Action camera, linear", 87.0, "horizontal", "typical"),
    Preset("Camera, 50 mm", angle_of_equivalent_deg(50), "diagonal", "follows from 50 mm"),
)


def preset_text(preset: Preset) -> str:
    """Return the line of a preset in the list."""
    names = {"diagonal": "DFOV", "horizontal": "HFOV", "vertical": "VFOV", "longer": "FOV (longer side)"}
    return f"{preset.name}: {names[preset.side]} {preset.angle_deg:.0f}° ({preset.source})"


def wide_box(limits: tuple[float, float], suffix: str, hint: str) -> QDoubleSpinBox:
    """Return a number box with room for five digits."""
    box = number_box(limits, suffix)
    box.setFixedWidth(112)
    box.setToolTip(hint)
    return box


class AnglePage(QWidget):
    """Page for a field of view: from a list, typed, or from a photograph's EXIF."""

    chosen = pyqtSignal(object)
    """CameraModel"""
    exif_wanted = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.presets = QComboBox()
        self.presets.setToolTip(
            "Kinds of cameras; the value that your camera's maker states is better than a typical one"
        )
        self.presets.addItems([CHOOSE, *map(preset_text, PRESETS)])
        self.presets.activated.connect(self._use_preset)
        self.angle = wide_box(ANGLE_LIMITS_DEG, " °", "Field of view of the camera")
        self.angle.valueChanged.connect(self._use)
        sides = {side: SIDE_TEXTS[side].removeprefix("the ").capitalize() for side in get_args(AngleSide)}
        self.side = combo_box(sides, "Direction that the angle spans; makers mostly state the diagonal")
        self.side.activated.connect(self._use)
        hint = "35 mm equivalent focal length of the photograph on screen; wrong if it was cropped"
        self.exif = push_button("From this photograph's EXIF", hint, self.exif_wanted.emit)
        form = QFormLayout(self)
        form.addRow("Camera", self.presets)
        form.addRow("FOV", self.angle)
        form.addRow("Direction", self.side)
        form.addRow("", self.exif)

    def show_camera_model(self, camera_model: CameraModel) -> None:
        """Show the intrinsics in use."""
        if camera_model.mode == "intrinsics":
            return
        with QSignalBlocker(self.angle):
            self.angle.setValue(camera_model.field_of_view_deg)
        self.side.setCurrentIndex(self.side.findData(camera_model.side))

    def _use_preset(self, row: int) -> None:
        if row > 0:
            preset = PRESETS[row - 1]
            self.chosen.emit(CameraModel("angle", round(preset.angle_deg, 1), preset.side))

    def _use(self) -> None:
        self.chosen.emit(CameraModel("angle", self.angle.value(), self.side.currentData()))


class IntrinsicsPage(QWidget):
    """Page for fx, fy, cx and cy, and the image size that they belong to."""

    chosen = pyqtSignal(object)
    """CameraModel"""
    refused = pyqtSignal(str)

    def __init__(self) -> None:
        super().__init__()
        focal, centre = (1.0, 100_000.0), (0.0, 20_000.0)
        self.boxes = {
            "fx": wide_box(focal, " px", "Focal length along the width"),
            "fy": wide_box(focal, " px", "Focal length along the height; equal to fx for square pixels"),
            "cx": wide_box(centre, " px", "Principal point, from the left edge"),
            "cy": wide_box(centre, " px", "Principal point, from the upper edge"),
        }
        self.width_box, self.height_box = QSpinBox(), QSpinBox()
        for side, hint in ((self.width_box, "Width"), (self.height_box, "Height")):
            side.setRange(16, 20_000)
            side.setToolTip(f"{hint} of the images that were calibrated; other sizes are scaled")
        self.use = push_button("Apply", "Use these intrinsics for this source", self._use)
        form = QFormLayout(self)
        for name, box in self.boxes.items():
            form.addRow(name, box)
        form.addRow("Calibrated at", row_of(self.width_box, named_label("", "x"), self.height_box, None))
        form.addRow("", self.use)

    def show_intrinsics(self, known: Intrinsics, size: tuple[int, int]) -> None:
        """Show these intrinsics."""
        values = *known.focals_px, *known.centre_px
        for box, value in zip(self.boxes.values(), values, strict=True):
            box.setValue(float(value))
        self.width_box.setValue(size[0])
        self.height_box.setValue(size[1])

    def _use(self) -> None:
        fx, fy, cx, cy = (box.value() for box in self.boxes.values())
        try:
            camera_model = camera_model_of_intrinsics(
                Intrinsics(fx, cx, cy, fy), (self.width_box.value(), self.height_box.value())
            )
        except HandvizError as error:
            self.refused.emit(str(error))
            return
        self.chosen.emit(camera_model)


class HandSizePage(QWidget):
    """Page for the size of the hand."""

    chosen = pyqtSignal(object)
    """HandSize"""

    def __init__(self) -> None:
        super().__init__()
        self.measure = combo_box(MEASURE_TEXTS, "Which measure of the hand is known")
        self.millimetres = wide_box(HAND_LIMITS_MM["length"], " mm", "Measured value")
        self.std_mm = wide_box(HAND_STD_LIMITS_MM, " mm", "Standard deviation of the value")
        form = QFormLayout()
        form.addRow("Measure", self.measure)
        form.addRow("Value", self.millimetres)
        form.addRow("± (1 sigma)", self.std_mm)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addWidget(named_label("faint", HOW_TO_MEASURE, wraps=True))
        column.addStretch(1)
        self.measure.activated.connect(self._change_measure)
        self.millimetres.valueChanged.connect(self._use)
        self.std_mm.valueChanged.connect(self._use)

    def show_size(self, size: HandSize) -> None:
        """Show the size in use."""
        with QSignalBlocker(self.millimetres), QSignalBlocker(self.std_mm):
            if size.measure != "none":
                self.millimetres.setRange(*HAND_LIMITS_MM[size.measure])
            self.millimetres.setValue(size.millimetres)
            self.std_mm.setValue(size.std_mm)
        self.measure.setCurrentIndex(self.measure.findData(size.measure))
        for box in (self.millimetres, self.std_mm):
            box.setEnabled(size.measure != "none")

    def _change_measure(self) -> None:
        measure: HandMeasure = self.measure.currentData()
        self.chosen.emit(HandSize(measure, USUAL_MM[measure], self.std_mm.value()))

    def _use(self) -> None:
        self.chosen.emit(HandSize(self.measure.currentData(), self.millimetres.value(), self.std_mm.value()))
