"""Figures of the whole pipeline's standard deviations: statistics against scipy, and a pipeline of known errors."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pytest
from scipy import stats

from handviz.core.errors import ErrorCode
from handviz.core.geometry import rotation_from_axis_angle
from handviz.core.records import SMOOTHING_KINDS, FloatArray, Frame, FrameResult, HandMesh, Intrinsics
from handviz.evaluation import pipeline_calibration as calibration
from handviz.evaluation.pipeline_calibration import (
    STILLS,
    UNSMOOTHED,
    Measured,
    PipelineRow,
    Plan,
    figures,
    measure,
    measured,
    report_text,
    row,
    stream_kind,
)
from handviz.evaluation.rendered_scenes import RenderedScene, clips
from handviz.hand_models.open_hand import load_open_hand
from handviz.pipeline.kalman import make_smoother
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from tests.errors import raises
from tests.hands import made_up_hand

CAMERA = Intrinsics(600.0, 300.0, 240.0)
HANDS, POINTS = 300, 20
TEMPLATE = load_open_hand()


def made_up_scene(random: np.random.Generator, *, hidden_fraction: float = 0.0) -> RenderedScene:
    """Return the hand at rest, rotated, in a black image."""
    canonical_m = TEMPLATE.vertices_m - TEMPLATE.keypoint_regressor[0] @ TEMPLATE.vertices_m
    turn = rotation_from_axis_angle(random.normal(0, 0.4, 3))
    wrist_m = np.array([0.03, 0.02, random.uniform(0.4, 0.8)])
    visible = random.random(len(canonical_m)) < 0.6
    return RenderedScene(
        image=np.zeros((480, 640, 3), np.uint8),
        camera=CAMERA,
        handedness="right",
        wrist_m=wrist_m,
        camera_from_wrist=turn,
        true_m=canonical_m,
        length_m=0.18,
        keypoints_px=CAMERA.project(TEMPLATE.keypoint_regressor @ canonical_m @ turn.T + wrist_m),
        visible=visible,
        visible_alone=visible,
        hidden_fraction=hidden_fraction,
    )


def hand_of(scene: RenderedScene, offset_m: FloatArray | float = 0.0, std_mm: float = 5.0) -> HandMesh:
    """Return the scene's hand, its vertices displaced."""
    vertices_m = scene.vertices_m + offset_m
    keypoints_m = TEMPLATE.keypoint_regressor @ vertices_m
    return replace(
        made_up_hand(handedness=scene.handedness),
        vertices_m=vertices_m,
        keypoints_m=keypoints_m,
        vertex_std_mm=np.full(len(vertices_m), std_mm),
        keypoint_std_mm=np.full(21, std_mm),
        camera_from_wrist=scene.camera_from_wrist,
        wrist_camera_m=scene.wrist_m,
        intrinsics=scene.camera,
    )


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_rotation_size_and_place_of_the_whole_hand_are_no_errors(
    random: np.random.Generator, is_mirrored: bool
) -> None:
    scene = made_up_scene(random)
    scene = scene.mirrored() if is_mirrored else scene
    hand, turn = hand_of(scene), rotation_from_axis_angle(np.array([0.1, -0.2, 0.3]))
    moved = replace(
        hand, vertices_m=1.2 * hand.vertices_m @ turn.T, keypoints_m=1.2 * hand.keypoints_m @ turn.T + [0.0, 0.1, 0.0]
    )
    one = measured(moved, scene)
    assert one.is_left == is_mirrored
    assert one.keypoint_error_mm.shape == one.keypoint_visible.shape == (POINTS,)
    np.testing.assert_allclose(one.keypoint_error_mm, 0, atol=1e-6)
    np.testing.assert_allclose(one.vertex_error_mm, 0, atol=1e-6)
    # The other side's truth is another shape, which no rotation reaches.
    assert measured(hand, scene.mirrored()).keypoint_error_mm.mean() > 3


def test_hands_that_cannot_be_compared_are_refused(random: np.random.Generator) -> None:
    scene = made_up_scene(random)
    for other in (made_up_hand(), replace(hand_of(scene), hand_model="another")):
        with raises(ErrorCode.MODEL_MISMATCH):
            measured(other, scene)
    with raises(ErrorCode.NOT_PROVIDED):
        measured(replace(hand_of(scene), vertex_std_mm=None, keypoint_std_mm=None), scene)


def drawn(random: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return norms (N, P) of normal offsets in three dimensions, and their standard deviations."""
    stds_mm = random.uniform(2, 9, (HANDS, POINTS))
    offsets_mm = random.normal(size=(HANDS, POINTS, 3)) * stds_mm[..., None] / np.sqrt(3)
    return np.linalg.norm(offsets_mm, axis=2), stds_mm


def test_a_row_is_that_of_scipy_and_slow_loops(random: np.random.Generator) -> None:
    errors_mm, stds_mm = drawn(random)
    chosen = random.random((HANDS, POINTS)) < 0.5
    chosen[0] = False
    one = row("keypoints", "visible", errors_mm, stds_mm, chosen)
    errors, stds = errors_mm[chosen], stds_mm[chosen]
    assert (one.hands, one.count) == (chosen.any(axis=1).sum(), chosen.sum())
    assert one.error_mm == pytest.approx(errors.mean())
    assert one.std_mm == pytest.approx(stds.mean())
    np.testing.assert_allclose(one.coverage, [0.5, 0.68, 0.9, 0.95], atol=0.025)
    covered = [(3 * (errors / stds) ** 2 <= stats.chi2(3).ppf(p)).mean() for p in (0.5, 0.68, 0.9, 0.95)]
    np.testing.assert_allclose(one.coverage, covered)
    assert one.spearman == pytest.approx(stats.spearmanr(errors, stds).statistic)
    assert one.pearson == pytest.approx(stats.pearsonr(errors, stds).statistic)
    each = [stats.spearmanr(errors_mm[use, i], stds_mm[use, i]).statistic for i, use in enumerate(chosen.T)]
    assert one.spearman_each == pytest.approx(np.mean(each))
    means = [(e[use].mean(), s[use].mean()) for e, s, use in zip(errors_mm, stds_mm, chosen, strict=True) if use.any()]
    assert one.spearman_hands == pytest.approx(stats.spearmanr(*zip(*means, strict=True)).statistic)

    def area(order: FloatArray) -> float:
        kept = errors[np.argsort(order)]
        return float(np.mean([kept[: i + 1].mean() for i in range(len(kept))]))

    assert one.ausc_mm == pytest.approx(area(stds))
    assert one.ause == pytest.approx((area(stds) - area(errors)) / errors.mean())


def test_a_row_without_points_is_empty(random: np.random.Generator) -> None:
    errors_mm, stds_mm = drawn(random)
    one = row("keypoints", "hidden", errors_mm, stds_mm, np.zeros(errors_mm.shape, bool))
    assert (one.hands, one.count) == (0, 0)
    assert np.isnan([one.error_mm, one.spearman, one.spearman_hands, one.ausc_mm, one.pearson, *one.coverage]).all()


def made_up_hands(count: int, random: np.random.Generator) -> list[Measured]:
    """Return hands of three fractions hidden; hidden vertices have twice the standard deviation."""
    found = []
    for number in range(count):
        visible = random.random(60) < 0.6
        visible[0], visible[1] = True, False
        alone = visible | (random.random(60) < 0.5)
        alone[1] = True
        found.append(
            Measured(
                random.exponential(4, POINTS), random.uniform(2, 6, POINTS), random.exponential(4, 60),
                np.where(visible, 3.0, 6.0), random.random(POINTS) < 0.5, visible, alone,
                (0.7, 0.3, 0.1)[number % 3], 0.4 + 0.01 * number, number % 2 == 1,
            )
        )  # fmt: skip
    return found


def test_parts_are_those_of_their_hands(random: np.random.Generator) -> None:
    found = made_up_hands(21, random)
    one = figures(STILLS, 40, found)
    rows: dict[tuple[str, str], PipelineRow] = {(part.points, part.seen): part for part in one.rows}
    assert (one.searched, one.found) == (40, 21)
    assert [(ratio.level, ratio.hands) for ratio in one.hidden] == [(0.25, 14), (0.5, 7)]
    for ratio in one.hidden:
        assert ratio.hidden_over_visible == ratio.things_over_visible == pytest.approx(2)
    assert rows["keypoints", "all"].count == 21 * POINTS
    visible, hidden = (rows["vertices", seen].count for seen in ("visible", "hidden"))
    assert visible == sum(hand.visible.sum() for hand in found)
    assert visible + hidden == 21 * 60
    assert (rows["vertices", "visible"].std_mm, rows["vertices", "hidden"].std_mm) == (3, 6)
    # The hand at the median counts as near.
    assert (rows["keypoints", "near"].hands, rows["keypoints", "far"].hands) == (11, 10)
    assert rows["keypoints", "far"].error_mm == pytest.approx(np.mean([h.keypoint_error_mm for h in found[11:]]))
    assert (rows["keypoints", "right"].hands, rows["keypoints", "left"].hands) == (11, 10)
    assert rows["keypoints", "left"].error_mm == pytest.approx(np.mean([h.keypoint_error_mm for h in found[1::2]]))


def test_half_of_the_scenes_are_mirrored_and_two_fifths_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    random, asked = np.random.default_rng(1), []

    def fake(seed: Sequence[int], count: int, *most: float, least_hidden: float = 0.0) -> Iterator[RenderedScene]:
        asked.append((seed, count, most, least_hidden))
        return (made_up_scene(random) for _ in range(count))

    monkeypatch.setattr(calibration, "scenes", fake)
    sides = [scene.handedness for scene in Plan(("final",), 8, 3).stills()]
    assert sides == ["right", "left"] * 4
    assert asked == [([3, 0], 5, (0.25,), 0.0), ([3, 1], 3, (0.7,), 0.25)]
    assert len(Plan(("final",), 240).clip_seeds) == 10


def test_the_programs_own_model_leads() -> None:
    settings = Plan(("prior", "final", "amvur")).settings
    assert (settings.model, settings.others) == ("final", ("prior", "amvur"))
    assert Plan(("prior", "amvur")).settings.model == "prior"


class KnownErrors:
    """A pipeline that finds the scene's hand, displaced by noise of the standard deviation that it says."""

    scene: RenderedScene

    def __init__(self, settings: Any, config: Any) -> None:
        self._models = (settings.model, *settings.others)
        self._random = np.random.default_rng(2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def reset(self, *, video: bool) -> None:
        pass

    def process_with(self, frame: Frame, intrinsics: Intrinsics) -> FrameResult:
        scene = KnownErrors.scene
        assert intrinsics == scene.camera
        assert frame.image is scene.image
        offset_m = self._random.normal(0, 0.004, scene.true_m.shape)
        hands = {m: replace(hand_of(scene, offset_m, 1000 * 0.004 * np.sqrt(3)), model=m) for m in self._models}
        first, *_ = self._models
        others = {name: (hand,) for name, hand in hands.items() if name != first}
        return FrameResult(frame, first, hands=(hands[first],), others=others)


class FindsNothing(KnownErrors):
    """A pipeline that finds no hand."""

    def process_with(self, frame: Frame, intrinsics: Intrinsics) -> FrameResult:
        return FrameResult(frame, self._models[0])


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)

    def scenes(seed: object, count: int, *_: float, **__: float) -> Iterator[RenderedScene]:
        for _ in range(count):
            yield made_up_scene(random)

    def noted(stills: Any) -> Any:
        def find(plan: Plan) -> Iterator[RenderedScene]:
            for KnownErrors.scene in stills(plan):
                yield KnownErrors.scene

        return find

    def clip(frame_count: int) -> Iterator[RenderedScene]:
        one = made_up_scene(random)
        for _ in range(frame_count):
            KnownErrors.scene = one
            yield one

    monkeypatch.setattr(calibration, "scenes", scenes)
    monkeypatch.setattr(Plan, "stills", noted(Plan.stills))
    monkeypatch.setattr(calibration, "clips", lambda seeds, count: (clip(count) for _ in seeds))
    monkeypatch.setattr(calibration, "CLIP_FRAMES", 8)
    monkeypatch.setattr(calibration, "Pipeline", KnownErrors)


@pytest.mark.usefixtures("known")
def test_known_errors_through_the_whole_measurement_are_covered() -> None:
    found = measure(Plan(("amvur", "final"), 12))
    assert list(found) == ["amvur", "final"]
    kinds = [UNSMOOTHED, *map(stream_kind, SMOOTHING_KINDS), STILLS]
    for of_model in found.values():
        assert [kind.kind for kind in of_model] == kinds
        assert [(kind.found, kind.searched) for kind in of_model] == [(16, 16)] * 3 + [(12, 12)]
        for kind in of_model:
            if kind.kind in (STILLS, UNSMOOTHED):
                vertices = next(one for one in kind.rows if (one.points, one.seen) == ("vertices", "all"))
                np.testing.assert_allclose(vertices.coverage, [0.5, 0.68, 0.9, 0.95], atol=0.03)
    text = report_text(found)
    assert f"| final, {STILLS} | 12 of 12 |" in text
    assert f"| amvur, {STILLS}, left | 6 |" in text
    for block in text.strip().split("\n\n")[1:]:
        assert len({line.count("|") for line in block.splitlines()}) == 1


@pytest.mark.usefixtures("known")
def test_hardly_any_hand_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "Pipeline", FindsNothing)
    with raises(ErrorCode.NO_HANDS, match="--count"):
        measure(Plan(("final",), 4))


@pytest.mark.slow
def test_smoothing_afterwards_is_that_of_the_pipeline() -> None:
    """Real networks: streams of all kinds of smoothing share one run without it."""
    images = [scene.image for clip in clips((20,), 5) for scene in clip]
    frames = [Frame(number, image, 0.0, time_ms=number * 1000 / 30) for number, image in enumerate(images)]
    settings = PipelineSettings("final", smoothing=0.0)
    with Pipeline(settings, PipelineConfig(preload_others=False)) as pipeline:

        def shown(settings: PipelineSettings) -> list[HandMesh]:
            pipeline.apply(settings)
            pipeline.reset(video=True)
            return [pipeline.process_with(frame, CAMERA).hands[0] for frame in frames]

        raw = shown(settings)
        for kind in SMOOTHING_KINDS:
            strength = PipelineSettings().smoothing
            smoother = make_smoother(kind, strength)
            for hand, frame, own in zip(
                raw, frames, shown(replace(settings, smoothing_kind=kind, smoothing=strength)), strict=True
            ):
                assert frame.time_ms is not None
                (after,) = smoother.smooth([hand], frame.time_ms)
                for name in ("vertices_m", "keypoints_m", "vertex_std_mm", "keypoint_std_mm"):
                    np.testing.assert_allclose(getattr(after, name), getattr(own, name), rtol=1e-4, atol=1e-6)
            assert np.abs(after.vertices_m - raw[-1].vertices_m).max() > 1e-6
