"""Groups of the right panel: the picked point with its attention, and uncertainty."""

from collections.abc import Mapping

from PyQt6.QtCore import Qt, QTimer
from PyQt6.QtWidgets import QAbstractButton, QButtonGroup, QGridLayout, QHBoxLayout, QLabel, QSlider, QWidget

from handviz.core.records import FloatArray, HandMesh, ModelId, UncertaintyKind
from handviz.gui.inspector.attention import AttentionAnswer
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import LIMITS, ViewSettings
from handviz.gui.widgets.bind import bind, button_of, radio_group
from handviz.gui.widgets.choices import ATTENTION_HINT
from handviz.gui.widgets.controls import Panel, named_label
from handviz.inspection.point_reading import PointReading, joint_name
from handviz.models.registry import model_labels

POINT_TITLE, UNCERTAINTY_TITLE = "Picked point", "Uncertainty"
BEFORE = "Smoothing"
CLICK = "Click on a hand to read a vertex; with skeleton (S) or ellipses (E) a joint."
ABSENT = "This hand is not in the image, or hidden."
NOTHING = "–"
AXES_HINT = "camera axes: x right, y down, z forward, never mirrored"
AXES = ("x", "y", "z")
ROWS = (
    ("wrist", "wrist frame", f"Mean position relative to the wrist, in mm; {AXES_HINT}"),
    (
        "camera",
        "camera frame",
        f"Mean position in the camera frame, in mm, as metric as FOV and hand size; {AXES_HINT}",
    ),
    ("axes", "sigma x y z", "Standard deviation along the camera's axes, in mm"),
    (
        "principal",
        "sigma principal axes",
        "Standard deviation along the long, middle and short axis of the Gaussian, in mm",
    ),
)
UNCERTAINTY_HINT = (
    "Standard deviation over all three axes together, of network and MediaPipe's landmarks fused; "
    "and the fraction of the network's variance that the landmarks took away"
)
VISIBLE_BY_TEXTURE = (
    "Prediction of the texture net: whether this image shows the point, and how well frames so far have seen it"
)
VISIBLE_BY_SHAPE = (
    "Geometry only: whether the hand itself occludes it. In texture colour (T) the texture net predicts it."
)
MAX_JOINTS_LISTED = 5
STEPS_PER_MM = 2


class PointPanel:
    """The groups "Picked point" and "Uncertainty"; follows and changes a controller's settings."""

    def __init__(self, controller: Controller, panel: Panel) -> None:
        self._controller, self._panel = controller, panel
        self._groups: dict[str, QButtonGroup] = {}
        self.point_group = panel.group(POINT_TITLE, before=BEFORE)
        self._add_point()
        self._add_attention()
        self.uncertainty_group = panel.group(UNCERTAINTY_TITLE, before=BEFORE)
        self._add_uncertainty()
        self._soon = QTimer(self.point_group)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._scroll_to_point)
        self._scrolled_px: tuple[int, int] | None = None
        """Where the panel was scrolled to before it scrolled to the picked point, and there"""
        controller.settings_changed.connect(self.show_settings)
        self.show_settings(controller.settings)
        self.show_nothing()

    def choice(self, name: str, value: object) -> QAbstractButton:
        """Return the radio button of a value, for tests."""
        return button_of(self._groups[name], value)

    def show_settings(self, settings: ViewSettings) -> None:
        """Show the threshold, and hide what has no effect."""
        draw = settings.draw
        self.threshold_text.setText(f"{draw.uncertain_above_mm:.1f} mm")
        self._threshold_row.setVisible(draw.uncertain != "show")
        self._sigma_row.setVisible(draw.ellipses)
        if not settings.attention:
            self._write_attention("")

    def show_point_group(self) -> None:
        """Unfold the picked point and scroll to it as soon as it has its size."""
        self.point_group.set_folded(False)
        self._soon.start(0)

    def _scroll_to_point(self) -> None:
        bar = self._panel.verticalScrollBar()
        assert bar is not None
        before_px = bar.value()
        self._panel.ensureWidgetVisible(self.point_group)
        self._scrolled_px = (self._scrolled_px or (before_px, 0))[0], bar.value()

    def _scroll_back(self) -> None:
        """Scroll to where the panel was before a point was picked, unless the user has scrolled it since."""
        bar = self._panel.verticalScrollBar()
        assert bar is not None
        if self._scrolled_px is not None and bar.value() == self._scrolled_px[1]:
            bar.setValue(self._scrolled_px[0])
        self._scrolled_px = None

    def stop(self) -> None:
        """Cancel pending scrolling."""
        self._soon.stop()

    def show_nothing(self) -> None:
        """Show how to pick a point."""
        self._scroll_back()
        self._show_text(CLICK)
        self._write_attention("")

    def show_absent(self) -> None:
        """Show that the hand has left the image."""
        self._show_text(ABSENT)
        self._write_attention("")

    def show_reading(self, reading: PointReading, hand: HandMesh) -> None:
        """Write the numbers of a point of this hand."""
        self.name.setText(reading.name)
        numbers = (reading.from_wrist_mm, reading.in_camera_mm, reading.axis_std_mm, reading.principal_std_mm)
        for (name, _, _), triple in zip(ROWS, numbers, strict=True):
            for label, text in zip(self.values[name], _texts(triple), strict=True):
                label.setText(text)
        model = model_labels().get(hand.model, hand.model)
        self.std.setText(_own_std_text(reading.std_mm, hand.uncertainty, model) + _share_text(reading.landmark_share))
        self.visible.setText(_visible_text(reading))
        self.visible.setToolTip(VISIBLE_BY_TEXTURE if hand.texture is not None else VISIBLE_BY_SHAPE)
        self._table.setVisible(True)

    def show_models(self, others: Mapping[ModelId, tuple[float | None, float]]) -> None:
        """Show the same point of the compared models; nothing where none are compared."""
        lines = [
            f"{model_labels().get(model, model)}: {_std_text(std_mm)}, distance {distance_mm:.1f} mm"
            for model, (std_mm, distance_mm) in others.items()
        ]
        self.networks.setText("\n".join(lines))
        self.networks.setVisible(bool(lines))

    def show_attention(self, answer: AttentionAnswer | None, message: str = "") -> None:
        """List the joints with the largest weights, or show why there are none."""
        if answer is None:
            self._write_attention(message)
            return
        joints = answer.attention.joints
        lines = ["Colours: attention of vertices to this joint (1 = uniform)."]
        if joints is not None:
            lines = [
                f"{joints[joint]:4.0%}  {joint_name(int(joint))}" for joint in (-joints).argsort()[:MAX_JOINTS_LISTED]
            ]
            lines += ["Colours: attention to vertices (1 = uniform)."]
        lines.append("Attention weights, not causes.")
        if answer.cost_ms:
            lines.append(f"{answer.cost_ms:.0f} ms per run")
        self._write_attention("\n".join(lines))

    def _write_attention(self, text: str) -> None:
        self.attention_text.setText(text)
        self.attention_text.setVisible(bool(text))

    def _show_text(self, message: str) -> None:
        self.show_models({})
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
        # The longest text would make the panel wider than there is room.
        self.std, self.visible = named_label("number", wraps=True), named_label("number")
        self.std.setToolTip(UNCERTAINTY_HINT)
        for row, (title, value) in enumerate((("uncertainty", self.std), ("visible", self.visible))):
            grid.addWidget(named_label("faint", title), row, 0, Qt.AlignmentFlag.AlignTop)
            value.setAlignment(Qt.AlignmentFlag.AlignRight)
            grid.addWidget(value, row, 1, 1, 3)
        for column, axis in enumerate(AXES):
            grid.addWidget(named_label("faint", axis), 2, column + 1, Qt.AlignmentFlag.AlignRight)
        grid.addWidget(named_label("faint", "mm"), 2, 0)
        self.values: dict[str, list[QLabel]] = {}
        row = 3
        for name, title, hint in ROWS:
            labels = [named_label("faint", title), *(named_label("number") for _ in AXES)]
            # Principal axes are not x, y and z: their title takes a row of its own.
            has_own_row = name == "principal"
            grid.addWidget(labels[0], row, 0, 1, 4 if has_own_row else 1)
            row += has_own_row
            for column, label in enumerate(labels):
                label.setToolTip(hint)
                if column:
                    grid.addWidget(label, row, column, Qt.AlignmentFlag.AlignRight)
            self.values[name] = labels[1:]
            row += 1
        self._panel.column.addWidget(self._table)
        self.networks = named_label("faint", wraps=True)
        self.networks.setToolTip(
            "Standard deviation of the compared models, and the distance of their point from this one"
        )
        self._panel.column.addWidget(self.networks)

    def _add_attention(self) -> None:
        self.attention_text = named_label("faint", wraps=True)
        self.attention_text.setToolTip(ATTENTION_HINT)
        self._panel.column.addWidget(self.attention_text)

    def _add_uncertainty(self) -> None:
        self._panel.column.addWidget(named_label("faint", "Uncertain regions"))
        line = self._panel.add_line()
        self._radios(line, "uncertain")
        line.addWidget(named_label("key", "H"))
        low, high = LIMITS["uncertain_above_mm"]
        self.threshold = QSlider(Qt.Orientation.Horizontal)
        self.threshold.setRange(round(low * STEPS_PER_MM), round(high * STEPS_PER_MM))
        self.threshold.setToolTip("Regions whose standard deviation is above this are faded or hidden")
        self.threshold.setAccessibleName("Threshold of standard deviation")
        bind(self.threshold, "uncertain_above_mm", self._controller, steps=STEPS_PER_MM)
        self.threshold_text = named_label("number", "")
        line = self._panel.add_line()
        for part in (named_label("", "Sigma >"), self.threshold, self.threshold_text):
            line.addWidget(part)
        self._threshold_row = _holder(self.threshold)
        hint = "Gaussian of each joint, projected to the view"
        self.ellipses = self._panel.add_switch("Ellipses at joints", "E", hint)
        bind(self.ellipses, "ellipses", self._controller)
        line = self._panel.add_line()
        self._radios(line, "ellipse_sigmas")
        self._sigma_row = _holder(self.choice("ellipse_sigmas", 1.0))
        line = self._panel.add_line()
        line.addWidget(named_label("faint", "Plausible hands"), 1)
        line.addWidget(named_label("key", "G"))
        self._radios(self._panel.add_line(), "samples")

    def _radios(self, line: QHBoxLayout, name: str) -> None:
        self._groups[name] = radio_group(name, self._controller, _holder(line))
        for button in self._groups[name].buttons():
            line.addWidget(button)
        line.addStretch(1)


def _holder(part: QWidget | QHBoxLayout) -> QWidget:
    holder = part.parentWidget()
    assert holder is not None
    return holder


def _own_std_text(std_mm: float | None, kind: UncertaintyKind, model: str) -> str:
    """Return the picked point's standard deviation, or that its model predicts none, or one for all vertices."""
    if std_mm is None:
        return f"none: {model} predicts none"
    return f"± {std_mm:.1f} mm" + (", one for all vertices" if kind == "constant" else "")


def _share_text(share: float | None) -> str:
    return "" if share is None else f", {share:.0%} by landmarks"


def _std_text(std_mm: float | None) -> str:
    return "no uncertainty" if std_mm is None else f"± {std_mm:.1f} mm"


def _texts(triple: FloatArray | None) -> list[str]:
    return [NOTHING] * 3 if triple is None else [f"{value:.1f}" for value in triple]


def _visible_text(reading: PointReading) -> str:
    if reading.seen is not None:
        return f"{reading.visible:.0%}, so far {reading.seen:.0%}"
    if reading.visible in (0.0, 1.0):
        return "yes (geometry only)" if reading.visible else "no (geometry only)"
    return f"{reading.visible:.0%} (geometry only)"
