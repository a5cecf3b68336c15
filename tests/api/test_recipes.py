"""The recipes of the documentation run: the notebook whole, the others without Blender and dex-retargeting."""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hands import textured_hand
from numpy.typing import NDArray
from PIL import Image

import handviz
from handviz.__main__ import main
from handviz.core.paths import CLIP_FILE, PROJECT_ROOT
from handviz.core.records import Handedness
from handviz.hand_models.open_hand import load_open_hand
from handviz.io.mesh_export import export_mesh
from handviz.io.mesh_io import read_ply
from tests.api.images import GREY, clip_frame

RECIPES = PROJECT_ROOT / "docs" / "recipes"


def recipe(name: str) -> ModuleType:
    """Import a recipe, which lies in no package."""
    spec = importlib.util.spec_from_file_location(name, RECIPES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_guide_links_to_the_recipes() -> None:
    assert "../recipes/index.md" in (PROJECT_ROOT / "docs" / "guide" / "index.md").read_text("utf-8")
    page = (RECIPES / "index.md").read_text("utf-8")
    for path in RECIPES.iterdir():
        assert path.name == "index.md" or f"({path.name})" in page


# The notebook.


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setenv("MPLBACKEND", "agg")
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    yield plt
    plt.close("all")


@pytest.mark.slow
def test_every_cell_of_the_notebook_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawings: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(clip_frame()).save("hand.jpg", quality=95)
    Path("clip.mp4").write_bytes(CLIP_FILE.read_bytes())
    cells = json.loads((RECIPES / "hands.ipynb").read_text("utf-8"))["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        assert not cell.get("outputs"), "clear the outputs before committing"
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert len(drawings.get_fignums()) == 3
    assert len(names["hands"]) == 1
    assert Path("hand.glb").stat().st_size > 10_000
    assert len(capsys.readouterr().out.splitlines()) == 1 + 21
    assert set(names["paths"]) == {"right", "left"}


# Blender.


@pytest.fixture(scope="module")
def blender() -> ModuleType:
    return recipe("blender_import")


@pytest.fixture
def reconstructed(load: Callable[..., handviz.Model], networks: Path, tmp_path: Path) -> Path:
    """Write hands.json of an image of 320 x 240 pixels with an unusual camera."""
    assert load  # its detector
    Image.fromarray(GREY).save(tmp_path / "a.png")
    camera = ["--intrinsics", "400", "380", "150", "125"]
    options = ["--mesh", "ply", "--no-overlays", "--model-dir", str(networks), *camera]
    assert main(["reconstruct", str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), *options]) == 0
    return tmp_path / "out" / "hands.json"


def test_blender_reads_the_meshes_that_handviz_writes(blender: ModuleType, reconstructed: Path) -> None:
    (hand,) = json.loads(reconstructed.read_text())[0]["hands"]
    values, faces = blender.read_ply(reconstructed.parent / hand["mesh"])
    vertices_m, expected_faces = read_ply(reconstructed.parent / hand["mesh"])
    np.testing.assert_array_equal(np.stack([values[axis] for axis in "xyz"], axis=1), vertices_m)
    np.testing.assert_array_equal(faces, expected_faces)
    assert values["vertex_std_mm"].mean() == pytest.approx(hand["vertex_std_mm"]["mean"], abs=1e-3)
    assert values["red"].dtype == np.uint8


def test_blenders_camera_sees_the_keypoints_where_the_image_has_them(blender: ModuleType, reconstructed: Path) -> None:
    image = json.loads(reconstructed.read_text())[0]
    (hand,) = image["hands"]
    right, forward, up = blender.blender_from_camera(
        np.array(hand["keypoints_camera_m"]) + np.array(hand["wrist_camera_m"])
    ).T
    settings = blender.camera_settings(image)
    # Blender's manual: shifts are fractions of the sensor's larger side, rows are wider by the pixels' aspect.
    across = settings["lens"] / blender.SENSOR_MM
    x = image["width"] * (0.5 + across * right / forward - settings["shift_x"])
    y = (
        image["height"] / 2
        - image["width"] * (across * up / forward - settings["shift_y"]) / settings["pixel_aspect_y"]
    )
    np.testing.assert_allclose(np.stack([x, y], axis=1), hand["keypoints_image_px"], atol=2e-3)


def stand_in_for_blender(given: dict[str, Any]) -> tuple[Any, Any]:
    """Return ``bpy`` that records what it is asked for, and its scene; a run in Blender itself is in docs/recipes."""

    def layer(name: str, *_: str) -> Any:
        return SimpleNamespace(
            data=SimpleNamespace(foreach_set=lambda key, values: given.update({name: (key, values)}))
        )

    mesh = SimpleNamespace(
        from_pydata=lambda *lists: given.update(mesh=lists),
        color_attributes=SimpleNamespace(new=layer),
        attributes=SimpleNamespace(new=layer),
        materials=[],
        shade_smooth=lambda: None,
    )
    scene = SimpleNamespace(collection=SimpleNamespace(objects=[]), render=SimpleNamespace())
    scene.collection.objects = SimpleNamespace(link=lambda item: given.setdefault("linked", []).append(item))
    made = SimpleNamespace(new=lambda *_: SimpleNamespace())
    bpy = SimpleNamespace(
        context=SimpleNamespace(scene=scene),
        data=SimpleNamespace(
            meshes=SimpleNamespace(new=lambda _: mesh),
            objects=made,
            cameras=made,
            materials={"handviz uncertainty": "material"},
        ),
    )
    return bpy, scene


def test_blender_gets_meshes_colours_and_deviations(blender: ModuleType, reconstructed: Path) -> None:
    given: dict[str, Any] = {}
    bpy, scene = stand_in_for_blender(given)
    objects = blender.import_hands(bpy, reconstructed)
    points, _, faces = given["mesh"]
    assert (len(objects), len(given["linked"]), len(points), len(faces)) == (1, 2, 778, len(load_open_hand().faces))
    assert given["uncertainty"][0] == "color_srgb"
    assert given["uncertainty"][1].shape == (4 * 778,)
    assert given["vertex_std_mm"][1].min() > 0
    assert (scene.render.resolution_x, scene.render.resolution_y) == (320, 240)
    assert min(point[1] for point in points) > 0.1  # before the camera, which looks along y


def test_blender_takes_the_mesh_of_a_model_without_uncertainty(blender: ModuleType, tmp_path: Path) -> None:
    hand = replace(textured_hand(), vertex_std_mm=None, keypoint_std_mm=None, texture=None)
    export_mesh(tmp_path / "hand.ply", hand, colour="uncertainty")
    given: dict[str, Any] = {}
    bpy, _ = stand_in_for_blender(given)
    blender.add_hand(bpy, "hand", tmp_path / "hand.ply", np.zeros(3))
    assert "uncertainty" in given
    assert "vertex_std_mm" not in given


# Robot hands.


@pytest.fixture(scope="module")
def robot() -> ModuleType:
    return recipe("robot_hand")


def resting_hand(handedness: Handedness, rotation: NDArray[np.float64]) -> handviz.Hand:
    """Return the open hand at rest, rotated."""
    template = load_open_hand()
    mirror = np.array([-1.0 if handedness == "left" else 1.0, 1.0, 1.0])
    keypoints = (template.keypoint_regressor @ template.vertices_m * mirror) @ rotation.T
    zeros = np.zeros(3)
    return handviz.Hand(
        handedness=handedness,
        score=1.0,
        vertices_m=np.zeros((778, 3)),
        keypoints_m=keypoints - keypoints[0],
        vertex_std_mm=np.zeros(778),
        keypoint_std_mm=np.zeros(21),
        keypoints_px=np.zeros((21, 2)),
        faces=np.zeros((0, 3), np.int32),
        wrist_camera_m=zeros,
        wrist_std_m=zeros,
        camera_from_wrist=rotation,
        intrinsics=handviz.Intrinsics(500, 320, 240),
        model="final",
        hand_model="",
    )


def rotations(count: int) -> list[NDArray[np.float64]]:
    """Return random rotations."""
    found = np.linalg.qr(np.random.default_rng(3).normal(size=(count, 3, 3)))[0]
    return [matrix * np.linalg.det(matrix) for matrix in found]


@pytest.mark.parametrize("side", ["left", "right"])
def test_robots_get_joints_in_order_axes_and_shape(robot: ModuleType, side: Handedness) -> None:
    first = robot.robot_keypoints(resting_hand(side, np.eye(3)))
    assert (first.shape, first.dtype) == ((21, 3), np.float64)
    np.testing.assert_allclose(first[0], 0, atol=1e-12)
    np.testing.assert_allclose(first[9, :2], 0, atol=1e-12)  # the middle knuckle is on z
    assert 0.05 < first[9, 2] < 0.15
    assert (first[[8, 12, 16, 20], 2] > first[[5, 9, 13, 17], 2]).all()  # fingertips beyond their knuckles
    thumb_is = 1 if side == "right" else -1
    assert first[5, 1] * thumb_is > 0 > first[17, 1] * thumb_is
    assert first[4, 1] * thumb_is > 0
    assert first[[4, 8, 12, 16, 20], 0].mean() > 0  # a resting hand bends to the palm
    for rotation in rotations(5):
        np.testing.assert_allclose(robot.robot_keypoints(resting_hand(side, rotation)), first, atol=1e-9)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_axes_are_those_of_dex_retargeting(robot: ModuleType, side: Handedness) -> None:
    """Compare with its examples' way: a plane fitted to three joints, and its two constants from operator to MANO."""
    operator_to_mano = {"right": [[0, 0, -1], [-1, 0, 0], [0, 1, 0]], "left": [[0, 0, -1], [1, 0, 0], [0, -1, 0]]}
    for rotation in rotations(5):
        hand = resting_hand(side, rotation)
        wrist, index, middle = hand.keypoints_m[[0, 5, 9]]
        centred = np.array([wrist, index, middle]) - (wrist + index + middle) / 3
        normal = np.linalg.svd(centred)[2][2]
        back = (wrist - middle) / np.linalg.norm(wrist - middle)
        side_axis = np.cross(back, normal)
        sign = np.sign(side_axis @ (index - middle))
        operator = np.stack([back, sign * normal, sign * side_axis], axis=1)
        expected = hand.keypoints_m @ operator @ np.array(operator_to_mano[side])
        np.testing.assert_allclose(robot.robot_keypoints(hand), expected, atol=1e-9)


@pytest.mark.parametrize(("kind", "indices"), [("VECTOR", [[0, 0, 0, 0], [4, 8, 12, 16]]), ("POSITION", [4, 8, 12])])
def test_a_clip_reaches_the_robot(
    robot: ModuleType,
    load: Callable[..., handviz.Model],
    networks: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    indices: Any,
) -> None:
    taken: list[NDArray[np.float64]] = []
    optimizer = SimpleNamespace(retargeting_type=kind, target_link_human_indices=np.array(indices))
    retargeting = SimpleNamespace(optimizer=optimizer, retarget=lambda value: taken.append(value) or np.zeros(16))
    config = SimpleNamespace(
        set_default_urdf_dir=lambda folder: None,
        load_from_file=lambda file: SimpleNamespace(build=lambda: retargeting),
    )
    monkeypatch.setitem(sys.modules, "dex_retargeting", ModuleType("dex_retargeting"))
    monkeypatch.setitem(sys.modules, "dex_retargeting.retargeting_config", SimpleNamespace(RetargetingConfig=config))
    model = load()
    monkeypatch.setattr(robot.handviz, "track", model.track)
    found = list(robot.robot_angles([GREY, GREY], "allegro.yml", "robots", "right"))
    assert [(time_ms, angles.shape) for time_ms, angles in found] == [(0, (16,)), (pytest.approx(1000 / 30), (16,))]
    points = robot.robot_keypoints(model(GREY)[0])
    expected = points[[4, 8, 12, 16]] if kind == "VECTOR" else points[[4, 8, 12]]
    np.testing.assert_allclose(taken[0], expected, atol=0.01)
    assert list(robot.robot_angles([GREY], "allegro.yml", "robots", "left")) == []
