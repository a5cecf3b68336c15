"""What a network computes on its way: heatmaps over the image, and the hand after each iteration, as a slider."""

from collections.abc import Sequence

from PyQt6.QtCore import QSignalBlocker, Qt
from PyQt6.QtWidgets import QCheckBox, QComboBox, QSlider, QWidget

from handviz.core.skeleton import KEYPOINT_NAMES
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.session.settings import ViewSettings
from handviz.gui.widgets.bind import bind
from handviz.gui.widgets.controls import Panel, combo_box, named_label
from handviz.gui.widgets.shortcuts import Feature, Shortcut
from handviz.models.registry import list_models
from handviz.rendering.heatmaps import ALL
from handviz.rendering.options import RESULT_STEP

TITLE = "Network"
HEATMAP_HINT = "Where the network sees each joint, over the image; ellipses: two standard deviations of the spread"
STEP_HINT = "The hand before the first iteration of the regressor and after each; on the right the result"
PLAY_HINT = "Show the iterations one after the other"
USUAL_STEPS = 4
"""Of the slider until a hand has been seen: the start and three iterations."""


class NetworkViews(Feature):
    """Group of the right panel, which is there while a model that is shown has heatmaps or iterations."""

    def __init__(self, controller: Controller, panel: Panel) -> None:
        super().__init__()
        self._controller = controller
        self._provides = {spec.id: spec.provides for spec in list_models()}
        self.group = panel.group(TITLE, before="Colour")
        texts = {"none": "No heatmaps", ALL: "Heatmaps of all joints"}
        texts |= {name: f"Heatmap: {name.replace('_', ' ')}" for name in KEYPOINT_NAMES}
        self.heatmaps: QComboBox = combo_box(texts, HEATMAP_HINT)
        self.heatmaps.setAccessibleName("Heatmaps")
        bind(self.heatmaps, "heatmaps", controller)
        line = panel.add_line()
        line.addWidget(self.heatmaps, 1)
        line.addWidget(named_label("key", "J"))
        self._heatmap_row = self.heatmaps.parentWidget()
        self.step = QSlider(Qt.Orientation.Horizontal)
        self.step.setToolTip(STEP_HINT)
        self.step.setAccessibleName("Iteration")
        self.step.setRange(0, USUAL_STEPS)
        self.step.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.step.valueChanged.connect(self._choose_step)
        self.step_text = named_label("number")
        line = panel.add_line()
        for part in (named_label("", "Iteration"), self.step, self.step_text):
            line.addWidget(part)
        self._step_row = self.step.parentWidget()
        self.plays: QCheckBox = panel.add_switch("Play iterations", "B", PLAY_HINT)
        bind(self.plays, "plays_iterations", controller)
        self._play_row = self.plays.parentWidget()
        controller.answered.connect(self._take_answer)
        controller.settings_changed.connect(self.show_settings)
        self.show_settings(controller.settings)

    def shortcuts(self) -> Sequence[Shortcut]:
        """Return the keys for heatmaps and for playing the iterations."""
        return (
            Shortcut(("J",), "Heatmaps of all joints", self.toggle_heatmaps, setting=("heatmaps", ALL)),
            Shortcut(("B",), "Play iterations of the network", self.toggle_play, setting=("plays_iterations", True)),
        )

    def toggle_heatmaps(self) -> None:
        """Show the heatmaps of all joints, or none; without a model that has any, a message names one that does."""
        wanted = ALL if self._controller.settings.draw.heatmaps == "none" else "none"
        self._controller.change(heatmaps=wanted)
        self._tell_if_missing("heatmaps", is_wanted=wanted != "none")

    def toggle_play(self) -> None:
        """Play the iterations, or stop; without a model that iterates, a message names one that does."""
        wanted = not self._controller.settings.draw.plays_iterations
        self._controller.change(plays_iterations=wanted)
        self._tell_if_missing("iterations", is_wanted=wanted)

    def show_settings(self, settings: ViewSettings) -> None:
        """Show what has an effect on the models that are shown."""
        provided = self._provided(settings)
        rows: dict[QWidget | None, bool] = {
            self._heatmap_row: "heatmaps" in provided,
            self._step_row: "iterations" in provided,
            self._play_row: "iterations" in provided,
        }
        for row, is_there in rows.items():
            assert row is not None
            row.setVisible(is_there)
        self.group.setVisible(any(rows.values()))
        self.step.setEnabled(not settings.draw.plays_iterations)
        self._show_step(settings)

    def _show_step(self, settings: ViewSettings) -> None:
        last = self.step.maximum()
        number = min(settings.draw.iteration, last)
        with QSignalBlocker(self.step):
            self.step.setValue(number)
        names = {0: "start", last: "result"}
        self.step_text.setText("playing" if settings.draw.plays_iterations else names.get(number, f"after {number}"))

    def _choose_step(self, number: int) -> None:
        self._controller.change(iteration=RESULT_STEP if number == self.step.maximum() else number)

    def _take_answer(self, answer: Answer) -> None:
        """Let the slider have as many steps as the hands that are shown."""
        shown = (answer.result.hands, *answer.result.others.values())
        steps = max((len(hand.steps) for hands in shown for hand in hands), default=0)
        if steps and steps != self.step.maximum():
            with QSignalBlocker(self.step):
                self.step.setMaximum(steps)
            self._show_step(self._controller.settings)

    def _provided(self, settings: ViewSettings) -> frozenset[str]:
        """Return what the models that are shown predict."""
        draw = settings.draw
        models = {settings.pipeline.model, *(draw.compared if draw.compare else ())}
        models |= set(draw.difference_pair) if draw.difference else set()
        return frozenset().union(*(self._provides.get(model, frozenset()) for model in models))

    def _tell_if_missing(self, what: str, *, is_wanted: bool) -> None:
        if is_wanted and what not in self._provided(self._controller.settings):
            known = [spec.label for spec in list_models() if what in spec.provides]
            self._controller.notify(f"The model has no {what}: choose {' or '.join(known) or 'another one'}.")
