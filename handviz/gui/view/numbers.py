"""Stage times, rates, the age of the picture, and the provider that really runs."""

import time

from PyQt6.QtCore import Qt, QTimer, pyqtSignal
from PyQt6.QtWidgets import QGridLayout, QWidget

from handviz.gui.session.messages import Answer
from handviz.gui.session.rates import RateMeter
from handviz.gui.widgets.parts import named_label

REFRESH_MS = 250
NOTHING = "–"
CPU_PROVIDER = "CPUExecutionProvider"
ROWS = (
    ("detect", "Detection"),
    ("crop", "Crop"),
    ("reconstruct", "Reconstruction"),
    ("smooth", "Smoothing"),
    ("texture", "Texture"),
    ("draw", "Drawing"),
    ("capture_rate", "Captured"),
    ("inference_rate", "Reconstructed"),
    ("draw_rate", "Drawn"),
    ("age", "Age when shown"),
    ("dropped", "Frames dropped"),
    ("provider", "Runs on"),
)


class Numbers(QWidget):
    """Takes every answer and paint, and writes four times a second what they say."""

    summed_up = pyqtSignal(str)
    """The same in one line."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        self.values = {name: named_label("number", NOTHING) for name, _ in ROWS}
        for row, (name, title) in enumerate(ROWS):
            grid.addWidget(named_label("faint", title), row, 0)
            grid.addWidget(self.values[name], row, 1, Qt.AlignmentFlag.AlignRight)
        self._answer: Answer | None = None
        self._is_new = False
        self._draw_ms, self._age_ms = 0.0, 0.0
        self._draw_rate, self._draw_rate_hz = RateMeter(), 0.0
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.refresh)
        self._timer.start(REFRESH_MS)

    def take_answer(self, answer: Answer) -> None:
        """A new result came."""
        self._answer, self._is_new = answer, True

    def take_paint(self, draw_ms: float) -> None:
        """The viewport was painted; only the first paint of a result says how old it is."""
        self._draw_ms = draw_ms
        if self._answer is not None and self._is_new:
            self._is_new = False
            self._age_ms = time.perf_counter() * 1000 - self._answer.result.frame.captured_ms
            self._draw_rate_hz = self._draw_rate.tick(time.monotonic())

    def clear(self) -> None:
        """Another source comes."""
        self._answer = None
        self._draw_rate.reset()
        for label in self.values.values():
            label.setText(NOTHING)
        self.summed_up.emit("")

    def stop(self) -> None:
        """Write no more."""
        self._timer.stop()

    def refresh(self) -> None:
        """Write the present numbers."""
        if self._answer is None:
            return
        answer, times = self._answer, self._answer.result.times
        is_streaming = answer.capture_rate_hz > 0
        texts = {
            "detect": f"{times.detect_ms:.1f} ms",
            "crop": f"{times.crop_ms:.1f} ms",
            "reconstruct": f"{times.reconstruct_ms:.1f} ms",
            "smooth": f"{times.smooth_ms:.1f} ms",
            "texture": f"{times.texture_ms:.1f} ms" if times.texture_ms > 0 else NOTHING,
            "draw": f"{self._draw_ms:.1f} ms",
            "capture_rate": f"{answer.capture_rate_hz:.1f} /s" if is_streaming else NOTHING,
            "inference_rate": f"{answer.inference_rate_hz:.1f} /s" if is_streaming else NOTHING,
            "draw_rate": f"{self._draw_rate_hz:.1f} /s" if is_streaming else NOTHING,
            "age": f"{self._age_ms:.0f} ms",
            "dropped": str(answer.dropped),
            "provider": provider_text(answer.provider),
        }
        for name, text in texts.items():
            if self.values[name].text() != text:
                self.values[name].setText(text)
        network_ms = times.reconstruct_ms + times.texture_ms
        self.summed_up.emit(
            f"detect {times.detect_ms:.0f} + network {network_ms:.0f} + draw {self._draw_ms:.0f} ms"
            + (f"  ·  {answer.inference_rate_hz:.0f} /s" if is_streaming else "")
            + f"  ·  {answer.dropped} dropped  ·  {texts['provider']}"
        )


def provider_text(provider: str) -> str:
    """ONNX Runtime's name as a person would say it; a missing graphics card is said plainly."""
    if not provider:
        return "no model"
    return "CPU (no GPU)" if provider == CPU_PROVIDER else provider.removesuffix("ExecutionProvider")
