"""The pages of the lens dialog. Each says what a person chose; none knows a controller."""

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

CHOOSE = "choose …"
MEASURE_TEXTS: dict[HandMeasure, str] = {
    "none": "nobody measured it",
    "length": "length: wrist to fingertip",
    "breadth": "breadth of the palm",
}
USUAL_MM: dict[HandMeasure, float] = {"none": 185.0, "length": 185.0, "breadth": 82.0}
HOW_TO_MEASURE = (
    "Lay the hand flat on a table, palm up, fingers together, beside a ruler.\n\n"
    "Length: from the crease of the wrist that is nearest to the palm to the tip of the middle finger (not the nail).\n"
    "Breadth: across the palm from the outside of the index finger's knuckle to the outside of the little finger's.\n\n"
    "An image does not tell how large a hand is: a small hand nearby looks like a large one farther off. With the "
    "size stated, meshes take it, and so do all distances. It holds for all hands in the image, until you change it."
)


# Angles of common cameras: what makers state, what follows from a focal length "in 35 mm", and what is typical.


@dataclass(frozen=True)
class Preset:
    """A kind of camera and what it spans."""

    name: str
    angle_deg: float
    side: AngleSide
    source: str


PRESETS = (
    Preset("Laptop or simple webcam", 60.0, "horizontal", "typical"),
    Preset("Wide webcam", 78.0, "diagonal", "typical"),
    Preset("Logitech C920, C922", 78.0, "diagonal", "typical"),
    Preset("Very wide webcam", 90.0, "diagonal", "typical"),
    Preset("Telephone, main camera, 26 mm", angle_of_equivalent_deg(26), "diagonal", "follows from 26 mm"),
    Preset("Telephone, main camera, 24 mm", angle_of_equivalent_deg(24), "diagonal", "follows from 24 mm"),
    Preset("Telephone, front camera", 80.0, "diagonal", "typical"),
    Preset(
        "Telephone, ultra wide, 13 mm", angle_of_equivalent_deg(13), "diagonal", "follows from 13 mm; bends at edges"
    ),
    Preset("Action camera, wide", 118.0, "horizontal", "typical; bends strongly"),
    Preset("Action camera, linear", 87.0, "horizontal", "typical"),
    Preset("Camera, 50 mm", angle_of_equivalent_deg(50), "diagonal", "follows from 50 mm"),
)


def preset_text(preset: Preset) -> str:
    """One line of the list."""
    over = {
        "diagonal": "over the diagonal",
        "horizontal": "across",
        "vertical": "down",
        "longer": "over the longer side",
    }
    return f"{preset.name}: {preset.angle_deg:.0f}° {over[preset.side]} ({preset.source})"


def wide_box(limits: tuple[float, float], suffix: str, hint: str) -> QDoubleSpinBox:
    """A number box with room for five digits."""
    box = number_box(limits, suffix)
    box.setFixedWidth(112)
    box.setToolTip(hint)
    return box


class AnglePage(QWidget):
    """A field of view, from a list, by hand, or as a photograph states it."""

    chosen = pyqtSignal(object)
    """CameraModel"""
    exif_wanted = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.presets = QComboBox()
        self.presets.setToolTip("Kinds of cameras; a maker's number for yours is better than a typical one")
        self.presets.addItems([CHOOSE, *map(preset_text, PRESETS)])
        self.presets.activated.connect(self._use_preset)
        self.angle = wide_box(ANGLE_LIMITS_DEG, " °", "The angle that the camera sees")
        self.angle.valueChanged.connect(self._use)
        sides = {side: SIDE_TEXTS[side] for side in get_args(AngleSide)}
        self.side = combo_box(sides, "What this angle spans; makers mostly state the diagonal")
        self.side.activated.connect(self._use)
        hint = "The focal length that the photograph on the screen states; wrong if it was cut"
        self.exif = push_button("From this photograph's EXIF", hint, self.exif_wanted.emit)
        form = QFormLayout(self)
        form.addRow("Camera", self.presets)
        form.addRow("Angle", self.angle)
        form.addRow("over", self.side)
        form.addRow("", self.exif)

    def show_camera_model(self, camera_model: CameraModel) -> None:
        """Follow the lens in use."""
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
    """fx, fy, cx and cy, and the size of the images that they belong to."""

    chosen = pyqtSignal(object)
    """CameraModel"""
    refused = pyqtSignal(str)

    def __init__(self) -> None:
        super().__init__()
        focal, centre = (1.0, 100_000.0), (0.0, 20_000.0)
        self.boxes = {
            "fx": wide_box(focal, " px", "Focal length along the width"),
            "fy": wide_box(focal, " px", "Focal length along the height; that of fx for square pixels"),
            "cx": wide_box(centre, " px", "Where the optical axis meets the image, from the left"),
            "cy": wide_box(centre, " px", "The same from above"),
        }
        self.width_box, self.height_box = QSpinBox(), QSpinBox()
        for side, hint in ((self.width_box, "Width"), (self.height_box, "Height")):
            side.setRange(16, 20_000)
            side.setToolTip(f"{hint} of the images that these numbers belong to; other sizes are scaled")
        self.use = push_button("Use these", "From now on, for this source", self._use)
        form = QFormLayout(self)
        for name, box in self.boxes.items():
            form.addRow(name, box)
        form.addRow("in images of", row_of(self.width_box, named_label("", "x"), self.height_box, None))
        form.addRow("", self.use)

    def show_intrinsics(self, known: Intrinsics, size: tuple[int, int]) -> None:
        """Show these numbers."""
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
    """The size of the person's hand."""

    chosen = pyqtSignal(object)
    """HandSize"""

    def __init__(self) -> None:
        super().__init__()
        self.measure = combo_box(MEASURE_TEXTS, "What was measured with a ruler")
        self.millimetres = wide_box(HAND_LIMITS_MM["length"], " mm", "What the ruler says")
        self.std_mm = wide_box(HAND_STD_LIMITS_MM, " mm", "How far off the ruler's number may be")
        form = QFormLayout()
        form.addRow("Measured", self.measure)
        form.addRow("It is", self.millimetres)
        form.addRow("give or take", self.std_mm)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addWidget(named_label("faint", HOW_TO_MEASURE, wraps=True))
        column.addStretch(1)
        self.measure.activated.connect(self._change_measure)
        self.millimetres.valueChanged.connect(self._use)
        self.std_mm.valueChanged.connect(self._use)

    def show_size(self, size: HandSize) -> None:
        """Follow the size in use."""
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
