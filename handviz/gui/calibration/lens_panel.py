"""What the left panel shows of the lens: its angle, how it is known, and the way to the dialog."""

from PyQt6.QtCore import QSignalBlocker, pyqtSignal
from PyQt6.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from handviz.core.lens import ANGLE_LIMITS_DEG, Lens, angles_deg, lens_in_words
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import ViewSettings
from handviz.gui.widgets.parts import named_label, number_box


class LensPart(QWidget):
    """Follows and drives a controller's lens."""

    details_wanted = pyqtSignal()

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.field_of_view = number_box(ANGLE_LIMITS_DEG, " °")
        self.field_of_view.setToolTip("Angle that the longer side of the picture spans; it sets the distances")
        self.field_of_view.valueChanged.connect(lambda angle: controller.change(lens=Lens("angle", angle)))
        self.known = named_label("faint", wraps=True)
        self.details = QPushButton("Lens and hand size …")
        self.details.setToolTip("Presets, fx fy cx cy, checkerboard, the size of your hand (Ctrl+L)")
        self.details.clicked.connect(self.details_wanted.emit)
        self.mirror = QCheckBox("Mirror the display")
        self.mirror.setToolTip("Only what you see is flipped; the hands are found in the true picture (M)")
        self.mirror.toggled.connect(lambda checked: controller.change(mirror=checked))
        self._lay_out()
        controller.settings_changed.connect(self.show_settings)
        self.show_settings(controller.settings)

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(named_label("", "Field of view"), 1)
        row.addWidget(self.field_of_view)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(7)
        column.addLayout(row)
        for part in (self.known, self.details, self.mirror):
            column.addWidget(part)

    def show_settings(self, settings: ViewSettings) -> None:
        """Follow settings that were changed elsewhere."""
        with QSignalBlocker(self.field_of_view), QSignalBlocker(self.mirror):
            # Of a lens that is known otherwise the angle depends on the picture's shape: 4:3 stands for it.
            self.field_of_view.setValue(_longer_angle_deg(settings.lens))
            self.mirror.setChecked(settings.mirror)
        self.known.setText(lens_in_words(settings.lens))


def _longer_angle_deg(lens: Lens) -> float:
    if lens.mode != "intrinsics" and lens.side == "longer":
        return lens.field_of_view_deg
    size = lens.known_size if lens.mode == "intrinsics" else (640, 480)
    return max(angles_deg(lens.intrinsics_for(*size), *size)[:2])
