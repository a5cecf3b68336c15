"""Hands: shapes, frames, winding, saved meshes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image

import handviz
from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.hand_models.open_hand import load_open_hand
from tests.api.images import FLOATS, GREY, clip_frame, volume_m3
from tests.errors import raises


def test_an_image_gives_hands_with_shapes_and_frames(model: handviz.Model) -> None:
    (hand,) = model(GREY)
    for name, shape in FLOATS.items():
        array: NDArray[np.float64] = getattr(hand, name)
        assert (array.shape, array.dtype, array.flags.writeable) == (shape, np.float64, True), name
    assert hand.faces.shape == load_open_hand().faces.shape
    assert (hand.handedness, hand.score, hand.model, hand.track_id) == ("right", 0.95, "final", "")
    np.testing.assert_allclose(hand.keypoints_m[0], 0, atol=1e-9)
    assert hand.intrinsics.origin == "assumed"
    points = (hand.keypoints_m + hand.wrist_camera_m) @ hand.intrinsics.matrix.T
    np.testing.assert_allclose(points[:, :2] / points[:, 2:], hand.keypoints_px, atol=1e-6)


@pytest.mark.parametrize("side", ["left", "right"])
def test_faces_of_both_hands_look_outwards(load: Callable[..., handviz.Model], side: str) -> None:
    (hand,) = load(side=side)(GREY)
    assert hand.handedness == side
    volume = volume_m3(hand.vertices_m, hand.faces)
    assert 5e-5 < volume < 1e-3  # 50 to 1000 ml
    normals = trimesh.Trimesh(hand.vertices_m, hand.faces, process=False).face_normals
    spokes = hand.vertices_m[hand.faces].mean(axis=1) - hand.vertices_m.mean(axis=0)
    assert (np.einsum("fi,fi->f", normals, spokes) > 0).mean() > 0.6
    assert volume_m3(hand.vertices_m, hand.faces[:, ::-1]) < 0  # so the check can fail


def test_a_hand_describes_itself_in_a_line(model: handviz.Model) -> None:
    (hand,) = model(GREY)
    assert repr(hand).startswith("<Hand: right, score 0.95, 778 vertices ± ")
    assert len(repr(hand)) < 120
    (frame,) = model.track([GREY])
    assert "'right'" in repr(frame)
    assert repr(model) == "<Model final, network changed>"


@pytest.mark.parametrize("colour", ["uncertainty", "plain"])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("suffix", ["glb", "obj", "ply"])
def test_saved_meshes_are_those_of_the_command(
    load: Callable[..., handviz.Model], networks: Path, tmp_path: Path, suffix: str, side: str, colour: Any
) -> None:
    image = tmp_path / "a.png"
    Image.fromarray(GREY).save(image)
    (hand,) = load(side=side)(image)
    path = hand.save(tmp_path / f"hand.{suffix}", colour=colour)
    options = ["--mesh", suffix, "--colour", colour, "--side", side, "--no-overlays", "--model-dir", str(networks)]
    assert main(["reconstruct", str(image), "--out", str(tmp_path / "out"), *options]) == 0
    assert path.read_bytes() == (tmp_path / "out" / "meshes" / f"a_0_{side}.{suffix}").read_bytes()


def test_a_changed_hand_is_saved_as_it_is_now(model: handviz.Model, tmp_path: Path) -> None:
    (hand,) = model(GREY)
    before = hand.save(tmp_path / "before.ply").read_bytes()
    hand.vertices_m[:] *= 2
    mesh = trimesh.load(hand.save(str(tmp_path / "after.ply")), process=False)
    np.testing.assert_allclose(mesh.vertices, hand.vertices_m, atol=1e-6)
    assert (tmp_path / "after.ply").read_bytes() != before


def test_a_mesh_that_cannot_be_saved(model: handviz.Model, tmp_path: Path) -> None:
    (hand,) = model(GREY)
    with raises(ErrorCode.UNSUPPORTED_FORMAT, match=r"\.glb"):
        hand.save(tmp_path / "hand.stl")
    with raises(ErrorCode.NOT_WRITABLE):
        hand.save(tmp_path / "absent" / "hand.glb")
    hand.vertices_m[0] = np.nan
    with raises(ErrorCode.NOT_FINITE):
        hand.save(tmp_path / "hand.glb")


@pytest.mark.slow
def test_hamr_has_heatmaps_over_the_hand_and_the_hands_of_its_iterations() -> None:
    """On the bundled clip: maps peak near the keypoints, and the last step is nearer to the result than the start."""
    model = handviz.load("hamr")
    (hand, *_) = model(clip_frame())
    assert hand.heatmaps is not None
    maps, affine = hand.heatmaps.maps, hand.heatmaps.image_from_map
    rows, columns = np.unravel_index(maps.reshape(21, -1).argmax(axis=1), maps.shape[1:])
    peaks_px = np.stack([columns, rows], axis=1) @ affine[:, :2].T + affine[:, 2] + 0.5
    size_px = np.ptp(hand.keypoints_px, axis=0).max()
    assert np.median(np.linalg.norm(peaks_px - hand.keypoints_px, axis=1)) < 0.1 * size_px
    assert len(hand.steps) == 4
    off = [np.linalg.norm(step.keypoints_px - hand.keypoints_px, axis=1).mean() for step in hand.steps]
    assert off[3] < off[0]
    assert np.isnan(hand.steps[0].vertex_std_mm).all()
