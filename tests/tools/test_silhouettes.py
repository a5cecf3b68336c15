"""Widths of silhouettes: of a known mesh, of known skin, and the table of known ratios."""

from pathlib import Path

import numpy as np
import pytest

import tools
from handviz.core.errors import ErrorCode
from tests.errors import raises
from tools.silhouettes import (
    PATCH_PX,
    Arguments,
    Compared,
    Line,
    Outline,
    lines,
    mesh_run,
    mesh_width,
    run,
    skin_probability,
    skin_width,
    table,
)

ACROSS = Line(np.array([200.0, 200.0]), np.array([1.0, 0.0]))


def bar(width: float, keypoints: np.ndarray | None = None, tilt_deg: float = 0.0) -> Outline:
    """Return a bar 300 px long about (200, 200), of two triangles."""
    corners = np.array([[-width / 2, -150], [width / 2, -150], [width / 2, 150], [-width / 2, 150]])
    cosine, sine = np.cos(np.radians(tilt_deg)), np.sin(np.radians(tilt_deg))
    corners = corners @ np.array([[cosine, sine], [-sine, cosine]]) + 200.0
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return Outline(corners, np.zeros((21, 2)) if keypoints is None else keypoints, faces)


def test_a_run_is_where_the_line_crosses_the_mesh() -> None:
    assert mesh_run(bar(40), ACROSS) == pytest.approx((-20, 20))
    assert mesh_run(bar(40), Line(np.array([210.0, 200.0]), ACROSS.across)) == pytest.approx((-30, 10))
    assert mesh_run(bar(40), Line(np.array([230.0, 200.0]), ACROSS.across)) is None
    assert mesh_run(bar(40), Line(np.array([200.0, 400.0]), ACROSS.across)) is None


def test_a_width_is_the_narrowest_of_rotated_lines_and_is_centred() -> None:
    found = mesh_width(bar(40, tilt_deg=10), Line(np.array([205.0, 200.0]), ACROSS.across))
    assert found is not None
    width, line = found
    assert width == pytest.approx(40)
    assert line.centre == pytest.approx(
        [205 - 5 * np.cos(np.radians(10)) ** 2, 200 - 5 * np.cos(np.radians(10)) * np.sin(np.radians(10))], abs=0.01
    )


def test_skin_has_the_width_between_its_edges() -> None:
    columns = np.arange(PATCH_PX) + 0.5
    stripe = np.tile(np.clip(25.5 - np.abs(columns - 200), 0, 1), (PATCH_PX, 1)).astype(np.float32)
    assert skin_width(stripe, ACROSS, 40.0) == pytest.approx(50, abs=0.6)
    beside_another = stripe.copy()
    beside_another[:, 228:260] = 1
    assert skin_width(beside_another, ACROSS, 40.0) is None
    assert skin_width(np.ones_like(stripe), ACROSS, 40.0) is None
    assert skin_width(np.zeros_like(stripe), ACROSS, 40.0) is None


def test_skin_is_found_by_the_colours_inside_a_thinner_mesh() -> None:
    rng = np.random.default_rng(0)
    patch = rng.normal((60, 90, 140), 6, (PATCH_PX, PATCH_PX, 3))
    patch[50:350, 175:225] = rng.normal((210, 160, 130), 6, (300, 50, 3))
    keypoints = np.linspace((200, 340), (200, 60), 21)
    probability = skin_probability(np.clip(patch, 0, 255).astype(np.uint8), bar(40, keypoints))
    assert skin_width(probability, ACROSS, 40.0) == pytest.approx(50, abs=2)


def test_lines_stand_across_their_bones() -> None:
    keypoints = np.random.default_rng(1).normal(size=(21, 2))
    found = lines(keypoints)
    assert found["index middle"].centre == pytest.approx((keypoints[6] + keypoints[7]) / 2)
    assert found["index middle"].across @ (keypoints[7] - keypoints[6]) == pytest.approx(0, abs=1e-12)
    assert found["palm"].across @ (keypoints[9] - keypoints[0]) == pytest.approx(0, abs=1e-12)
    assert abs(found["knuckles"].across @ (keypoints[5] - keypoints[17])) == pytest.approx(
        np.linalg.norm(keypoints[5] - keypoints[17])
    )


def test_the_table_has_the_medians_and_takes_off_the_error_of_the_search() -> None:
    rendered = [Compared("index PIP", 90.0, 102.0, 100.0)] * 3
    photographed = [Compared("index PIP", 80.0, 100.0, None)] * 3
    row = next(line for line in table(rendered, photographed) if line.startswith("index PIP"))
    expected = [f"{100 * np.log(ratio):+.1f}" for ratio in (0.9, 1.02, 90 / 102, 0.8)]
    assert [word for word in row.split() if word[0] in "+-"] == [*expected, f"{100 * np.log(0.8 * 1.02):+.1f}%"]


def test_a_folder_without_images_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.silhouettes, "_of_rendered", lambda *_: iter(()))
    with raises(ErrorCode.EMPTY_INPUT):
        run(Arguments(photographs=tmp_path, count=1))
