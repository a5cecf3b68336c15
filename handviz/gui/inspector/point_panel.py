"""Groups of the right panel: the picked point with its attention, and what becomes of uncertain parts."""

from collections.abc import Mapping

from PyQt6.QtCore import QSignalBlocker, Qt, QTimer
from PyQt6.QtWidgets import QButtonGroup, QGridLayout, QHBoxLayout, QLabel, QRadioButton, QSlider, QWidget

from handviz.core.records import VARIANTS, FloatArray, VariantName
from handviz.gui.inspector.attention import AttentionAnswer
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import LIMITS, ViewSettings
from handviz.gui.widgets.controls import Panel, check_quietly, named_label
from handviz.inspection.point_reading import PointReading, joint_name
from handviz.rendering.difference import DISPLAY_NAMES
from handviz.rendering.ellipses import fraction_inside

POINT_TITLE, UNCERTAINTY_TITLE = "Picked point", "Uncertainty"
BEFORE = "Smoothing"
CLICK = "Click on a hand to read a vertex; with skeleton (S) or ellipses (E) a joint."
ABSENT = "That hand is not in this image."
NOTHING = "–"
ATTENTION_HINT = (
    "Weights that the network gave while it computed this vertex (mean over its heads). They say what was looked at, "
    "not what caused the answer."
)
AXES = ("right", "down", "away")
ROWS = (
    ("wrist", "from wrist", "Mean position from the wrist along the camera's axes, never mirrored, in mm"),
    ("camera", "in camera", "Mean position from the camera in mm: as metric as the field of view and the hand's size"),
    ("axes", "± by axis", "Standard deviation along the camera's axes, in mm"),
    ("principal", "± own axes", "Standard deviation along the long, middle and short axis of its own Gaussian, in mm"),
)
UNCERTAINTY_HINT = "The expected distance from the truth, all axes together"
VISIBLE_BY_TEXTURE = "Network's answer, 0 to 100 %: this image shows it; and how well frames so far have seen it"
VISIBLE_BY_SHAPE = "By shape alone: whether the hand itself hides it. In texture colour (T) a network answers."
MAX_JOINTS_LISTED = 5
MODES = (
    ("show", "show all"),
    ("fade", "fade"),
    ("hide", "hide"),
)
STEPS_PER_MM = 2


class PointPanel:
    """Puts its groups into a panel, follows and drives a controller's settings."""

    def __init__(self, controller: Controller, panel: Panel) -> None:
        self._controller, self._panel = controller, panel
        self._buttons: dict[str, dict[object, QRadioButton]] = {}
        self.point_group = panel.group(POINT_TITLE, before=BEFORE)
        self._add_point()
        self._add_attention()
        self.uncertainty_group = panel.group(UNCERTAINTY_TITLE, before=BEFORE)
        self._add_uncertainty()
        self._soon = QTimer(self.point_group)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(lambda: panel.ensureWidgetVisible(self.point_group))
        controller.settings_changed.connect(self.show_settings)
        self.show_settings(controller.settings)
        self.show_nothing()

    def choice(self, name: str, value: object) -> QRadioButton:
        """The radio button of a value, for tests."""
        return self._buttons[name][value]

    def show_settings(self, settings: ViewSettings) -> None:
        """Follow settings that were changed elsewhere."""
        for box, checked in ((self.attention, settings.attention), (self.ellipses, settings.ellipses)):
            check_quietly(box, checked)
        for name, buttons in self._buttons.items():
            button = buttons.get(getattr(settings, name))
            if button is not None:
                check_quietly(button, True)
        with QSignalBlocker(self.threshold):
            self.threshold.setValue(round(settings.uncertain_above_mm * STEPS_PER_MM))
        self.threshold_text.setText(f"{settings.uncertain_above_mm:.1f} mm")
        self._threshold_row.setVisible(settings.uncertain != "show")
        self._sigma_row.setVisible(settings.ellipses)
        if not settings.attention:
            self._write_attention("")

    def show_point_group(self) -> None:
        """Unfold the picked point and bring it into sight, as soon as it has its size."""
        self.point_group.set_folded(False)
        self._soon.start(0)

    def stop(self) -> None:
        """Bring nothing into sight any more."""
        self._soon.stop()

    def show_nothing(self) -> None:
        """Say how to pick."""
        self._show_text(CLICK)
        self._write_attention("")

    def show_absent(self) -> None:
        """The hand has left."""
        self._show_text(ABSENT)
        self._write_attention("")

    def show_reading(self, reading: PointReading, has_texture: bool) -> None:
        """Write the numbers of the point."""
        self.name.setText(reading.name)
        numbers = (reading.from_wrist_mm, reading.in_camera_mm, reading.axis_std_mm, reading.principal_std_mm)
        for (name, _, _), triple in zip(ROWS, numbers, strict=True):
            for label, text in zip(self.values[name], _texts(triple), strict=True):
                label.setText(text)
        self.std.setText(f"± {reading.std_mm:.1f} mm")
        self.visible.setText(_visible_text(reading))
        self.visible.setToolTip(VISIBLE_BY_TEXTURE if has_texture else VISIBLE_BY_SHAPE)
        self._table.setVisible(True)

    def show_networks(self, others: Mapping[VariantName, tuple[float, float]]) -> None:
        """What the compared networks say of the same point; nothing where none are compared."""
        lines = [
            f"{DISPLAY_NAMES[variant]}: ± {others[variant][0]:.1f} mm, {others[variant][1]:.1f} mm away"
            for variant in VARIANTS
            if variant in others
        ]
        self.networks.setText("\n".join(lines))
        self.networks.setVisible(bool(lines))

    def show_attention(self, answer: AttentionAnswer | None, message: str = "") -> None:
        """The joints that get most, or why there is nothing to tell, or not yet."""
        if answer is None:
            self._write_attention(message)
            return
        joints = answer.attention.joints
        lines = ["Colours: how much each vertex looks at this joint, 1 is an even share."]
        if joints is not None:
            lines = [
                f"{joints[joint]:4.0%}  {joint_name(int(joint))}" for joint in (-joints).argsort()[:MAX_JOINTS_LISTED]
            ]
            lines += ["Colours: attention to vertices, 1 is an even share."]
        lines.append("Weights inside the network, not causes.")
        if answer.cost_ms:
            lines.append(f"{answer.cost_ms:.0f} ms beside the stream")
        self._write_attention("\n".join(lines))

    def _write_attention(self, text: str) -> None:
        self.attention_text.setText(text)
        self.attention_text.setVisible(bool(text))

    def _show_text(self, message: str) -> None:
        self.show_networks({})
        self.name.setText(message)
        self._table.setVisible(False)

    def _add_point(self) -> None:
        self.name = named_label("", wraps=True)
        self._panel.column.addWidget(self.name)
        self._table = QWidget()
        grid = QGridLayout(self._table)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        grid.setHorizontalSpacing(4)
        self.std, self.visible = named_label("number"), named_label("number")
        self.std.setToolTip(UNCERTAINTY_HINT)
        for row, (title, value) in enumerate((("uncertainty", self.std), ("visible", self.visible))):
            grid.addWidget(named_label("faint", title), row, 0)
            grid.addWidget(value, row, 1, 1, 3, Qt.AlignmentFlag.AlignRight)
        for column, axis in enumerate(AXES):
            grid.addWidget(named_label("faint", axis), 2, column + 1, Qt.AlignmentFlag.AlignRight)
        grid.addWidget(named_label("faint", "mm"), 2, 0)
        self.values: dict[str, list[QLabel]] = {}
        for row, (name, title, hint) in enumerate(ROWS):
            labels = [named_label("faint", title), *(named_label("number") for _ in AXES)]
            for column, label in enumerate(labels):
                label.setToolTip(hint)
                grid.addWidget(label, row + 3, column, Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag(0))
            self.values[name] = labels[1:]
        self._panel.column.addWidget(self._table)
        self.networks = named_label("faint", wraps=True)
        self.networks.setToolTip(
            "Standard deviation by the compared networks, and how far from here they put the point"
        )
        self._panel.column.addWidget(self.networks)

    def _add_attention(self) -> None:
        self.attention = self._panel.add_switch(
            "where its attention goes", "A", ATTENTION_HINT, lambda checked: self._controller.change(attention=checked)
        )
        self.attention_text = named_label("faint", wraps=True)
        self.attention_text.setToolTip(ATTENTION_HINT)
        self._panel.column.addWidget(self.attention_text)

    def _add_uncertainty(self) -> None:
        line = self._panel.add_line()
        self._radios(line, "uncertain", MODES, "What becomes of parts that are less certain than the threshold")
        line.addWidget(named_label("key", "H"))
        low, high = LIMITS["uncertain_above_mm"]
        self.threshold = QSlider(Qt.Orientation.Horizontal)
        self.threshold.setRange(round(low * STEPS_PER_MM), round(high * STEPS_PER_MM))
        self.threshold.setToolTip("Parts whose standard deviation is above this are faded or hidden")
        self.threshold.setAccessibleName("Threshold of standard deviation")
        self.threshold.valueChanged.connect(
            lambda value: self._controller.change(uncertain_above_mm=value / STEPS_PER_MM)
        )
        self.threshold_text = named_label("number", "")
        line = self._panel.add_line()
        for part in (named_label("", "above"), self.threshold, self.threshold_text):
            line.addWidget(part)
        self._threshold_row = _holder(self.threshold)
        hint = "Where each joint lies, by its Gaussian seen from here"
        self.ellipses = self._panel.add_switch(
            "ellipses at joints", "E", hint, lambda checked: self._controller.change(ellipses=checked)
        )
        line = self._panel.add_line()
        sigmas = tuple((size, f"{size:g} sigma, {fraction_inside(size):.0%}") for size in (1.0, 2.0))
        self._radios(line, "ellipse_sigmas", sigmas, "How large; the fraction of the Gaussian that lies inside")
        self._sigma_row = _holder(self.choice("ellipse_sigmas", 1.0))

    def _radios(self, line: QHBoxLayout, name: str, choices: tuple[tuple[object, str], ...], hint: str) -> None:
        group = QButtonGroup(_holder(line))
        self._buttons[name] = {}
        for value, text in choices:
            button = QRadioButton(text)
            button.setToolTip(hint)
            button.toggled.connect(
                lambda checked, value=value: self._controller.change(**{name: value}) if checked else None
            )
            group.addButton(button)
            line.addWidget(button)
            self._buttons[name][value] = button
        line.addStretch(1)


def _holder(part: QWidget | QHBoxLayout) -> QWidget:
    holder = part.parentWidget()
    assert holder is not None
    return holder


def _texts(triple: FloatArray | None) -> list[str]:
    return [NOTHING] * 3 if triple is None else [f"{value:.1f}" for value in triple]


def _visible_text(reading: PointReading) -> str:
    if reading.seen is not None:
        return f"{reading.visible:.0%}, so far {reading.seen:.0%}"
    if reading.visible in (0.0, 1.0):
        return "yes, by shape" if reading.visible else "no, by shape"
    return f"{reading.visible:.0%}, by shape"
