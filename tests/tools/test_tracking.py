"""Scores of followed hands on made-up clips, and the rendered scenarios."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

import tools
from handviz.core.records import Detection, HandMesh
from handviz.detection.crop import as_the_detector_marks_them
from tests.errors import wrong_usage
from tests.hands import INTRINSICS, made_up_hand
from tools.tracking import COLUMNS, clip_of, table
from tools.tracking_clips import CLIP_VERSION, TrackedClip, load_clip, save_clip
from tools.tracking_scenarios import KINDS, Scenario, scenario
from tools.tracking_scores import FoundHand, Tally, tally

RATE_HZ, FRAMES = 30, 60


def clip(*, away: slice = slice(0, 0), hands: int = 1, cut_at: int = FRAMES) -> TrackedClip:
    """Return hands that swing beside each other; the first is outside the image during ``away``."""
    times_s = np.arange(FRAMES) / RATE_HZ
    hand = made_up_hand(wrist_px=(320, 240))
    rest_m = hand.keypoints_m + hand.wrist_camera_m
    points_m = np.repeat(rest_m[None, None], FRAMES, axis=0).repeat(hands, axis=1)
    points_m[..., 0] += (0.06 * np.sin(2 * np.pi * times_s))[:, None, None] + 0.2 * np.arange(hands)[None, :, None]
    points_m[away, 0, :, 0] += 5
    return TrackedClip(
        jpegs=(b"",) * FRAMES,
        times_s=times_s,
        shots=(np.arange(FRAMES) >= cut_at).astype(np.int64),
        keypoints_m=points_m,
        visible=np.broadcast_to(points_m[..., 0] < 1, (FRAMES, hands, 21)).copy(),
        sides=("right",) * hands,
        intrinsics=INTRINSICS,
    )


def found_hand(points_m: np.ndarray, track_id: int = 1, **changes: object) -> FoundHand:
    """Return a hand found without error at keypoints (21, 3) in the camera's frame."""
    mesh: HandMesh = dataclasses.replace(
        made_up_hand(track_id=track_id),
        keypoints_m=points_m - points_m[0],
        wrist_camera_m=points_m[0],
        intrinsics=INTRINSICS,
        **changes,
    )
    marks_px = INTRINSICS.project(as_the_detector_marks_them(points_m))
    return FoundHand(Detection(mesh.handedness, 0.9, marks_px, track_id=track_id), mesh, mesh)


def perfect(one: TrackedClip) -> list[list[FoundHand]]:
    """Return what a tracker without errors finds."""
    rows = zip(one.keypoints_m, one.visible, strict=True)
    return [
        [found_hand(points, 1 + index) for index, points in enumerate(hands) if visible[index].any()]
        for hands, visible in rows
    ]


def test_a_tracker_without_errors_has_none() -> None:
    one = clip(away=slice(20, 40), hands=2)
    figures = tally(one, perfect(one)).summary()
    assert figures["expected"] == 100
    assert figures["recall_percent"] == 100
    for name in ("false_hands", "switches", "renumbered", "wrong_side", "until_found_max", "until_gone_max"):
        assert figures[name] == 0, name
    for name in ("error_median_percent", "error_95_percent", "pa_mm", "jitter_percent", "jitter_mm", "lag_ms"):
        assert figures[name] == pytest.approx(0, abs=1e-4), name


def changed(frames: Sequence[Sequence[FoundHand]], change: Callable[[int, list[FoundHand]], object]) -> Tally:
    """Return the tally of one swinging hand's frames after a change."""
    rows = [list(found) for found in frames]
    for row, found in enumerate(rows):
        change(row, found)
    return tally(clip(away=slice(20, 30)), rows)


def test_what_goes_wrong_is_counted() -> None:
    good = perfect(clip(away=slice(20, 30)))
    false = found_hand(clip().keypoints_m[0, 0] + [0.25, 0.1, 0])

    def add_false(row: int, found: list[FoundHand]) -> None:
        if 20 <= row < 27:
            found.append(false)

    stayed = changed(good, add_false)
    assert (stayed.false_hands, stayed.until_gone, stayed.found) == (7, (7,), 50)
    late = changed(good, lambda row, found: found.clear() if row < 4 or 30 <= row < 39 else None)
    assert (late.until_found, late.found, late.expected) == ((4, 9), 37, 50)
    twice = changed(good, lambda row, found: found.extend(found) if row == 3 else None)
    assert (twice.false_hands, twice.found) == (1, 50)


def test_numbers_and_sides_are_held_against_the_truth() -> None:
    good = perfect(clip(away=slice(20, 30)))

    def numbered(row: int, found: list[FoundHand]) -> None:
        number = 1 if row < 10 else 2 if row < 20 else 3
        found[:] = [found_hand(clip().keypoints_m[row, 0], number) for _ in found]

    again = changed(good, numbered)
    assert (again.switches, again.renumbered) == (1, 1)

    def turned(row: int, found: list[FoundHand]) -> None:
        if row < 6:
            found[:] = [found_hand(clip().keypoints_m[row, 0], handedness="left")]

    assert changed(good, turned).wrong_side == 6


def test_a_hand_shown_a_frame_late_lags_by_a_frame() -> None:
    one = clip()
    late = [[], *perfect(one)[:-1]]
    figures = tally(one, late).summary()
    assert figures["lag_ms"] == pytest.approx(1000 / RATE_HZ, rel=0.05)
    assert figures["recall_percent"] == pytest.approx(100 * 59 / 60)


def test_jitter_is_the_second_difference_of_noise() -> None:
    one, random = clip(), np.random.default_rng(0)
    frames = []
    for points in one.keypoints_m[:, 0]:
        noise = random.normal(0, 0.002, (21, 3))
        noise[0] = 0
        frames.append([found_hand(points + noise)])
    figures = tally(one, frames).summary()
    assert figures["jitter_mm"] == pytest.approx(2 * np.sqrt(6) * np.sqrt(8 / np.pi) * 20 / 21, rel=0.05)
    assert figures["jitter_mm"] == figures["smoothed_jitter_mm"]


def test_a_cut_is_no_motion() -> None:
    one = clip(cut_at=30)
    one.keypoints_m[30:] += [0.1, 0, 0]
    assert np.linalg.norm(tally(one, perfect(one)).speed_px, axis=2).max() < 1000


def test_tallies_add_up() -> None:
    one = clip()
    single = tally(one, perfect(one))
    both = sum([single, single], Tally()).summary()
    assert both["expected"] == 2 * single.expected
    assert both["error_median_percent"] == single.summary()["error_median_percent"]


def px_of(one: Scenario, index: int) -> np.ndarray:
    """Return the path (T, 2) in the image of the palm of one actor of the first shot."""
    times_s = np.arange(round(one.shots[0].seconds * one.rate_hz)) / one.rate_hz
    place_m = np.stack([one.shots[0].actors[index].place.at(time_s) for time_s in times_s])
    return 554.0 * place_m[:, :2] / place_m[:, 2:]


@pytest.mark.parametrize("name", KINDS)
def test_every_scenario_is_the_same_again_and_another_with_another_seed(name: str) -> None:
    one, same, other = (scenario(name, seed) for seed in (0, 0, 1))
    assert [shot.seconds for shot in one.shots] == [shot.seconds for shot in other.shots]
    np.testing.assert_array_equal(px_of(one, 0), px_of(same, 0))
    assert np.abs(px_of(one, 0) - px_of(other, 0)).max() > 0.5
    numbers = [actor.identity for shot in one.shots for actor in shot.actors]
    assert sorted(set(numbers)) == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("name", ["crossing", "crossing-left", "crossing-heights"])
def test_crossing_hands_change_sides_one_before_the_other(name: str) -> None:
    one = scenario(name, 0)
    right, left = px_of(one, 0), px_of(one, 1)
    apart = right[:, 0] - left[:, 0]
    assert apart[0] < -100
    assert apart.max() > 100
    assert apart[-1] < -100
    nearest = np.abs(apart).argmin()
    assert abs(right - left)[nearest, 1].min() < (40 if name != "crossing-heights" else 200)
    first, second = (actor.place.at(0)[2] for actor in one.shots[0].actors)
    assert (first < second) == (name != "crossing-left")


def test_wrong_names_are_a_message(capsys: pytest.CaptureFixture) -> None:
    with wrong_usage():
        tools.run("tracking", ["--scenarios", "juggling"])
    assert "juggling is not one of still, slow" in capsys.readouterr().err


@pytest.mark.slow
def test_a_rendered_clip_is_kept_followed_and_written_as_a_video(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rendered = clip_of(scenario("cut-jump", 0), 0, tmp_path)
    assert rendered.visible[:30, 0].mean() > 0.9
    assert not rendered.visible[:30, 1].any()
    assert rendered.visible[30:, 1].mean() > 0.9
    again = tmp_path / "again.npz"
    save_clip(again, rendered)
    np.testing.assert_array_equal(load_clip(again).keypoints_m, rendered.keypoints_m)
    words = ["--scenarios", "cut-jump", "--clips", "1", "--cache", str(tmp_path)]
    assert tools.run("tracking", [*words, "--results", str(tmp_path / "figures.json")]) == 0
    printed = capsys.readouterr().out
    assert all(title in printed for title, _ in COLUMNS.values())
    figures = json.loads((tmp_path / "figures.json").read_text())["cut-jump"]
    assert figures["recall_percent"] > 90
    assert figures["error_median_percent"] < 8
    assert (tmp_path / f"cut-jump_0_v{CLIP_VERSION}.npz").is_file()
    assert tools.run("tracking", [*words, "--videos", str(tmp_path / "videos")]) == 0
    video = cv2.VideoCapture(str(tmp_path / "videos" / "cut-jump_0.mp4"))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == len(rendered.jpegs)
    video.release()


def test_the_table_has_a_row_a_scenario() -> None:
    lines = table({"still": Tally().summary(), "fast": Tally().summary()})
    assert [line.split()[0] for line in lines[1:]] == ["still", "fast"]
    assert lines[1].split()[2] == "-"
