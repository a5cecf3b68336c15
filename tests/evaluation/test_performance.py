"""What the benchmark measures and reports, without running the program."""

import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handviz.core.process import peak_megabytes, resident_megabytes
from handviz.core.records import Frame, FrameResult, StageTimes
from handviz.detection import landmarker
from handviz.evaluation.performance.costs import output_costs_ms
from handviz.evaluation.performance.measures import (
    STAGES,
    AloneMeasures,
    LoopMeasures,
    LoopRun,
    Ratios,
    Scenario,
    Section,
    ShownFrame,
    ratios,
)
from handviz.evaluation.performance.mediapipe_alone import WARM_UP_FRAMES, endless, mediapipe_alone
from handviz.evaluation.performance.report import Results, json_values, lines, verdict
from handviz.evaluation.performance.sources import Gate, RenderedHands, SteppedSource, render, there_and_back
from tests.hands import FakeLandmarker
from tests.waiting import LIMIT_S

IMAGES = [np.full((48, 64, 3), 10 + number, np.uint8) for number in range(4)]
ONE_HAND = Scenario("final", "rendered:1", 1)


def section(*, draw_ms: float = 10.0, frames: int = 4, processor_ms: float = 60.0) -> Section:
    """Return frames whose stages take 1, 2, 3 ... ms, with a period of 50 ms."""
    times = StageTimes(*range(1, len(STAGES) + 1))
    shown = tuple(ShownFrame(times, draw_ms, age_ms=40.0, hands=1) for _ in range(frames))
    return Section(shown, 0.05 * frames, processor_ms * frames / 1000, 0.01 * frames, paints=frames, skipped=7)


def alone(max_hands: int, wall_ms: float, processor_ms: float = 30.0) -> AloneMeasures:
    """Return MediaPipe's measures on the one hand's source."""
    return AloneMeasures("rendered:1", max_hands, np.array([wall_ms, wall_ms, 100.0]), processor_ms, 1.0)


def results(*loops: LoopMeasures, outputs: bool = False) -> Results:
    """Return a report of these loops beside MediaPipe with two hands and one."""
    run = LoopRun(loops, 0.012, "the window", "CPUExecutionProvider", 700.0)
    sources = {"rendered:1": "rendered hands (1 in view): 640x480"}
    costs = {"record": [1.0, 2.0]} if outputs else None
    return Results(run, 2, sources, (alone(2, 20.0), alone(1, 10.0)), costs)


MEASURED = LoopMeasures(ONE_HAND, section(processor_ms=50.0), section())
FAILED = LoopMeasures(Scenario("amvur", "rendered:1", 1), failure="amvur is damaged")
STAGES_MS = sum(range(1, len(STAGES) + 1))


def test_ratios_are_medians_of_sums_and_processor_time_of_the_playing_loop() -> None:
    with_two, with_one = ratios(MEASURED, (alone(2, 20.0), alone(1, 10.0, processor_ms=15.0)))
    assert (with_two.max_hands, with_one.max_hands) == (2, 1)
    assert with_two.without_drawing == pytest.approx(STAGES_MS / 20)
    assert with_two.with_drawing == pytest.approx((STAGES_MS + 10) / 20)
    assert with_two.processor == pytest.approx(60 / 30)
    assert with_one.processor == pytest.approx(60 / 15)
    assert with_two.frame == pytest.approx(50 / 20)
    assert with_one.without_drawing == pytest.approx(STAGES_MS / 10)


def test_only_mediapipe_on_the_same_frames_is_compared() -> None:
    elsewhere = AloneMeasures("rendered:2", 2, np.array([20.0]), 30.0, 2.0)
    assert ratios(MEASURED, (elsewhere,)) == ()
    assert ratios(FAILED, (alone(2, 20.0),)) == ()


@pytest.mark.parametrize(
    ("without_drawing", "with_drawing", "words"),
    [
        (0.8, 0.9, "faster than MediaPipe alone with max hands 2, drawing included"),
        (0.8, 1.2, "faster than MediaPipe alone with max hands 2, drawing left out"),
        (1.1, 1.3, "slower than MediaPipe alone with max hands 2"),
    ],
)
def test_faster_is_said_with_the_number_of_hands(without_drawing: float, with_drawing: float, words: str) -> None:
    assert verdict(Ratios(2, without_drawing, with_drawing, 1.0, 1.0)) == words


def test_the_report_names_every_figure_and_what_failed() -> None:
    text = "\n".join(lines(results(MEASURED, FAILED, outputs=True)))
    for figure in (
        "frames a second in the loop: 20.0 (4 shown, 7 skipped)",
        "idle, source paused: 1.2% of a core",
        "MediaPipe alone, max hands 2",
        "MediaPipe alone, max hands 1",
        "processor time",
        "all but drawing",
        "all stages",
        "age when shown",
        "paints a frame",
        "final, one hand in view, texture off, max hands 2 (1.00 found)",
        "amvur, one hand in view, texture off, max hands 2: not measured (amvur is damaged)",
        "record",
    ):
        assert figure in text
    for line in text.splitlines():
        assert "faster than MediaPipe" not in line or "max hands" in line


@pytest.mark.parametrize(("fraction", "is_said"), [(0.05, False), (0.5, True)])
def test_a_busy_machine_is_said(fraction: float, is_said: bool) -> None:
    whole = results(MEASURED)
    busy = replace(whole, run=replace(whole.run, others_fraction=fraction))
    text = "\n".join(lines(busy))
    assert f"other programs meanwhile: {fraction:.0%} of all cores" in text
    assert ("worse than on an idle machine" in text) == is_said
    assert json_values(busy)["other_programs_fraction_of_all_cores"] == fraction


def test_every_stage_of_the_records_has_a_line() -> None:
    text = "\n".join(lines(results(MEASURED)))
    assert [stage for stage in (*STAGES, "draw") if f"  {stage} " not in text] == []


def test_json_has_the_same_figures() -> None:
    values = json_values(results(MEASURED, FAILED, outputs=True))
    loop, failed = values["loops"]
    assert loop["playing"]["frames_per_second"] == pytest.approx(20)
    assert loop["playing"]["processor_ms_per_frame"] == pytest.approx(60)
    assert loop["frame_by_frame"]["processor_ms_per_frame"] == pytest.approx(50)
    assert loop["frame_by_frame"]["all_stages"]["median_ms"] == pytest.approx(STAGES_MS + 10)
    assert set(loop["frame_by_frame"]["stages"]) == {*STAGES, "draw"}
    assert [one["max_hands"] for one in loop["relative_to_mediapipe_alone"]] == [2, 1]
    assert all("max hands" in one["in_words"] for one in loop["relative_to_mediapipe_alone"])
    assert failed["failure"] == "amvur is damaged"
    assert "playing" not in failed
    assert values["idle_fraction_of_a_core"] == 0.012
    assert values["mediapipe_alone"][0]["wall"] == {"median_ms": 20.0, "percentile_95_ms": pytest.approx(92)}
    assert values["outputs"]["record"]["median_ms"] == 1.5


@pytest.mark.parametrize(("count", "order"), [(1, [0, 0, 0]), (3, [0, 1, 2, 1, 0, 1, 2, 1]), (2, [0, 1, 0, 1])])
def test_images_are_played_there_and_back(count: int, order: list[int]) -> None:
    assert [there_and_back(number, count) for number in range(len(order))] == order


def test_rendered_hands_play_at_sixty_frames_a_second_without_end() -> None:
    source = RenderedHands(IMAGES, 1)
    frames = [source.read() for _ in range(8)]
    assert [frame.number for frame in frames] == list(range(8))
    assert frames[6].image is IMAGES[0]
    assert np.diff([frame.time_ms or 0.0 for frame in frames]) == pytest.approx(np.full(7, 1000 / 60))
    assert source.frame_count is None
    source.seek(2)
    assert source.read().image is IMAGES[2]


@pytest.mark.parametrize("hands", [1, 2])
def test_hands_are_rendered_moving_and_apart(hands: int) -> None:
    first, last = render(hands, 2)
    assert first.shape == (480, 640, 3)
    changed = np.abs(first.astype(int) - last).sum(axis=2) > 60
    columns = np.flatnonzero(changed[:380].any(axis=0))
    assert len(columns) > 40
    # Nothing moves in the middle between two hands.
    assert changed[:380, 310:330].any() == (hands == 1)


def test_a_held_gate_lets_one_frame_pass_at_a_time() -> None:
    gate, numbers, passed = Gate(), [], threading.Semaphore(0)
    source = SteppedSource(RenderedHands(IMAGES, 1), gate)

    def read() -> None:
        for _ in range(4):
            frame = source.read()
            numbers.append(None if frame is None else frame.number)
            passed.release()

    assert source.read() is not None
    gate.hold()
    reader = threading.Thread(target=read)
    reader.start()
    for count in (1, 2):
        gate.let_one()
        assert passed.acquire(timeout=LIMIT_S)
        assert (numbers, gate.newest) == ([1, 2][:count], count)
    source.interrupt()
    reader.join(LIMIT_S)
    assert numbers == [1, 2, 3, 4]


def test_the_end_of_a_clip_is_no_frame_that_is_waited_for() -> None:
    class OneFrame(RenderedHands):
        def read(self) -> Frame | None:  # type: ignore[override]
            return super().read() if self._next == 0 else None

    gate = Gate()
    source = SteppedSource(OneFrame(IMAGES, 1), gate)
    gate.hold()
    gate.let_one()
    assert source.read() is not None
    gate.let_one()
    assert source.read() is None
    source.seek(0)
    assert source.read() is not None


def test_mediapipe_is_measured_in_turns_on_the_same_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    class Watched(FakeLandmarker):
        def detect(self, frame: Frame):  # type: ignore[no-untyped-def]
            seen.append((self.max_hands, frame.number))
            return super().detect(frame)

    monkeypatch.setattr(landmarker, "HandLandmarker", lambda **keys: Watched("mediapipe", Path(), video=True, **keys))
    found = mediapipe_alone("any", lambda _: RenderedHands(IMAGES, 1), (2, 1), frames=40)
    assert [(one.max_hands, len(one.wall_ms), one.hands) for one in found] == [(2, 40, 1.0), (1, 40, 1.0)]
    measured = [count for count, _ in seen[2 * WARM_UP_FRAMES :]]
    assert [count for count, _ in itertools.groupby(measured)] == [2, 1, 2, 1]
    assert [number for count, number in seen if count == 2] == list(range(WARM_UP_FRAMES + 40))
    assert all(one.closed for one in FakeLandmarker.made[-2:])


def test_a_clip_is_read_again_and_an_empty_one_ends() -> None:
    class Few(RenderedHands):
        length = 2

        def read(self) -> Frame | None:  # type: ignore[override]
            return super().read() if self._next < self.length else None

    assert [frame.number for frame in itertools.islice(endless(Few(IMAGES, 1)), 5)] == [0, 1, 0, 1, 0]
    empty = Few(IMAGES, 1)
    empty.length = 0
    assert list(endless(empty)) == []


def test_costs_of_outputs_are_those_of_every_result() -> None:
    def shown() -> Iterator[tuple[FrameResult, np.ndarray]]:
        for number in range(3):
            yield FrameResult(Frame(number, IMAGES[0], 0.0), "final"), np.zeros((48, 64, 3), np.uint8)

    costs = output_costs_ms(shown())
    assert set(costs) == {"hand over", "record", "record video", "stream OSC"}
    assert {len(values) for values in costs.values()} == {3}


def test_memory_is_seen() -> None:
    peak = peak_megabytes()
    assert peak > 10
    assert 0 < resident_megabytes() <= peak * 1.05
