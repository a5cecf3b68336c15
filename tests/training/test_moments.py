"""Moments of several views: rendered, of HanCo and of DexYCB, by one protocol; damaged and single ones are named."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from handviz.core.errors import ErrorCode
from handviz.data.datasets.annotated import MultiViewDataset
from handviz.data.synthetic.dataset import read_labels, read_shard, shard_numbers
from handviz.data.synthetic.generator import labels_file
from handviz.hand_models.open_hand import load_open_hand
from handviz.training.dataset_samples import Drawing, load_samples
from handviz.training.moments import Cameras, Moments, load_moments, relative_cameras, rows_of, view_rows
from handviz.training.samples import load_images, take
from tests.errors import raises
from tests.fake_datasets import dexycb, hanco
from tests.fake_datasets.stand_in_mano import stand_in_template
from tests.rendered_moments import MOMENTS, VIEWS

TEMPLATE = load_open_hand()


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HANDVIZ_DATASET_CACHE", str(tmp_path_factory.mktemp("kept")))
        yield


@pytest.fixture(scope="module")
def rendered(rendered_moments: Path) -> Moments:
    """Return all rendered moments."""
    return load_moments([rendered_moments], TEMPLATE)


@pytest.fixture(scope="module")
def hanco_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("HanCo")
    hanco.write("hanco", folder, 3)
    return folder


@pytest.fixture(scope="module")
def dexycb_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dex-ycb")
    dexycb.write_moments(folder, 3, seed=5)
    return folder


# Rendered folders.


def test_a_batch_is_the_files_rows_moment_after_moment(rendered: Moments, rendered_moments: Path) -> None:
    assert (len(rendered), rendered.views) == (MOMENTS, VIEWS)
    ids = torch.tensor([4, 1])
    images, truth = rendered.batch(ids)
    assert images.shape == (2, VIEWS, 3, 224, 224)
    assert images.dtype == torch.float32
    parts = [read_shard(rendered_moments, shard) for shard in shard_numbers(rendered_moments)]
    stored = np.concatenate([part.images for part in parts])
    rows = [16, 17, 18, 19, 4, 5, 6, 7]
    np.testing.assert_array_equal((images.flatten(0, 1).permute(0, 2, 3, 1) * 255).round().byte().numpy(), stored[rows])
    known = np.concatenate([part.labels["keypoints_crop"] for part in parts])
    np.testing.assert_array_equal(truth.keypoints_crop.numpy(), known[rows])
    hidden = np.concatenate([part.labels["hidden_share"] for part in parts])
    np.testing.assert_array_equal(rendered.hidden_share(ids).numpy(), hidden[rows].reshape(2, VIEWS))


def test_views_of_a_moment_are_one_hand_with_its_own_rotations(rendered: Moments) -> None:
    _, truth = rendered.batch(torch.arange(MOMENTS))
    vertices = truth.vertices_cm.unflatten(0, (MOMENTS, VIEWS))
    assert (vertices == vertices[:, :1]).all()
    rotations = truth.rotation.unflatten(0, (MOMENTS, VIEWS))
    assert (rotations[:, 1:] - rotations[:, :1]).abs().amax((2, 3)).min() > 0.1


def reprojected(cameras: Cameras, points_m: torch.Tensor) -> torch.Tensor:
    """Project points (B, N, K, 3) of the wrist frame to the crops, half-sides."""
    seen = points_m @ cameras.camera_from_wrist.mT + cameras.wrist_camera_m[:, :, None]
    pixels = seen @ cameras.camera_matrix.mT
    pixels = pixels[..., :2] / pixels[..., 2:]
    affine = cameras.crop_from_image
    return (pixels @ affine[..., :2].mT + affine[..., 2][:, :, None]) / 112 - 1


def test_cameras_are_those_of_the_crops(rendered: Moments) -> None:
    ids = torch.tensor([0, 5])
    _, truth = rendered.batch(ids)
    regressor = torch.tensor(TEMPLATE.keypoint_regressor).float()
    points_m = (regressor @ truth.vertices_cm).unflatten(0, (2, VIEWS)) / 100
    found = reprojected(rendered.cameras(ids), points_m).flatten(0, 1)
    torch.testing.assert_close(found, truth.keypoints_crop, atol=1e-3, rtol=0)


def test_relative_cameras_take_points_from_one_view_to_another(rendered: Moments) -> None:
    cameras = rendered.cameras(torch.arange(3))
    between = relative_cameras(cameras)
    assert between.shape == (3, VIEWS, VIEWS, 4, 4)
    point = torch.tensor([0.02, -0.05, 0.01])
    seen = cameras.camera_from_wrist @ point + cameras.wrist_camera_m
    for one in range(VIEWS):
        for other in range(VIEWS):
            transform = between[:, one, other]
            moved = (transform[:, :3, :3] @ seen[:, other, :, None])[..., 0] + transform[:, :3, 3]
            torch.testing.assert_close(moved, seen[:, one], atol=1e-5, rtol=0)


def test_the_same_folder_is_single_crops_too(rendered: Moments, rendered_moments: Path) -> None:
    single = load_images([rendered_moments], TEMPLATE)
    assert len(single) == len(rendered.samples) == MOMENTS * VIEWS
    ids = torch.tensor([3, 10])
    for samples in (single, rendered.samples):
        images, truth = samples.batch(ids)
        torch.testing.assert_close(truth.rotation, take(single.truth, ids).rotation)
        assert torch.equal(images, single.batch(ids)[0])
    flat = rows_of(torch.tensor([2, 0]), VIEWS)
    assert flat.tolist() == [8, 9, 10, 11, 0, 1, 2, 3]
    assert torch.equal(rendered.batch(torch.tensor([2, 0]))[0].flatten(0, 1), single.batch(flat)[0])


def test_fewer_moments_and_views_are_the_first_ones(rendered: Moments, rendered_moments: Path) -> None:
    some = load_moments([rendered_moments], TEMPLATE, 5, views=3)
    assert (len(some), some.views, len(some.samples)) == (5, 3, 15)
    ids = torch.tensor([4, 0])
    images, truth = some.batch(ids)
    all_images, all_truth = rendered.batch(ids)
    assert torch.equal(images, all_images[:, :3])
    assert torch.equal(truth.rotation, all_truth.rotation.unflatten(0, (2, VIEWS))[:, :3].flatten(0, 1))
    assert torch.equal(some.hidden_share(ids), rendered.hidden_share(ids)[:, :3])
    for mine, theirs in zip(some.cameras(ids), rendered.cameras(ids), strict=True):
        assert torch.equal(mine, theirs[:, :3])


def test_folders_follow_each_other(rendered: Moments, rendered_moments: Path, copied_moments: Path) -> None:
    both = load_moments([rendered_moments, copied_moments], TEMPLATE, MOMENTS + 2)
    assert len(both) == MOMENTS + 2
    ids = torch.tensor([MOMENTS + 1, 1])
    images, truth = both.batch(ids)
    assert torch.equal(images[0], images[1])
    assert torch.equal(truth.vertices_cm[:VIEWS], truth.vertices_cm[VIEWS:])
    assert torch.equal(both.hidden_share(ids)[0], rendered.hidden_share(torch.tensor([1]))[0])
    assert len(load_moments([rendered_moments, copied_moments], TEMPLATE, 2)) == 2


def test_single_crops_are_no_moments(rendered_hands: Path) -> None:
    with raises(ErrorCode.NOT_PROVIDED, match="1 view a moment, not 2.*synthesize --views 2"):
        load_moments([rendered_hands], TEMPLATE)


def test_views_that_are_not_there_are_said(rendered_moments: Path) -> None:
    with raises(ErrorCode.NOT_PROVIDED, match="4 views a moment, not 8.*synthesize --views 8"):
        load_moments([rendered_moments], TEMPLATE, views=8)


@pytest.mark.parametrize(("limit", "views"), [(None, 1), (None, 0), (0, None), (-1, 2)])
def test_nothing_is_not_asked_for(rendered_moments: Path, limit: int | None, views: int | None) -> None:
    with raises(ErrorCode.BAD_VALUE):
        load_moments([rendered_moments], TEMPLATE, limit, views=views)


def test_folders_and_datasets_are_not_mixed(rendered_moments: Path, hanco_root: Path) -> None:
    for sources in ([], [rendered_moments, f"hanco/train_gs:{hanco_root}"]):
        with raises(ErrorCode.OPTION_CONFLICT):
            load_moments(sources, TEMPLATE)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("view", lambda values: values[::-1]),
        ("view", lambda values: values + 1),
        ("moment", lambda values: values[::-1]),
        ("moment", lambda values: np.roll(values, 1)),
        ("moment", lambda values: values * 0),
    ],
)
def test_parted_moments_are_named(copied_moments: Path, name: str, change: object) -> None:
    path = labels_file(copied_moments, 0)
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **{**arrays, name: change(arrays[name])})  # type: ignore[operator]
    with raises(ErrorCode.FILE_DAMAGED, match="does not hold whole moments of 4 views"):
        load_moments([copied_moments], TEMPLATE)


def test_a_manifest_of_other_views_is_noticed(copied_moments: Path) -> None:
    path = copied_moments / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "views": 3}))
    with raises(ErrorCode.FILE_DAMAGED, match="whole moments of 3 views"):
        load_moments([copied_moments], TEMPLATE)


def test_labels_without_moments_are_named(copied_moments: Path) -> None:
    path = labels_file(copied_moments, 0)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files if name not in ("moment", "view")}
    np.savez(path, **arrays)
    assert "moment" not in read_labels(copied_moments, 0)
    with raises(ErrorCode.FILE_DAMAGED, match=path.name):
        load_moments([copied_moments], TEMPLATE)


# Datasets.


def test_rows_of_moments_are_their_first_views() -> None:
    moments = np.array([2, 0, 2, 1, 0, 2, 0])
    np.testing.assert_array_equal(view_rows(moments), [[1, 4, 6], [0, 2, 5]])
    np.testing.assert_array_equal(view_rows(moments, 2), [[1, 4], [0, 2]])
    np.testing.assert_array_equal(view_rows(moments, 1), [[1], [3], [0]])
    # Two views are as frequent as three.
    np.testing.assert_array_equal(view_rows(np.array([0, 0, 1, 1, 1])), [[2, 3, 4]])
    assert view_rows(moments, 4).shape == (0, 4)
    assert view_rows(np.zeros(0, np.intp)).shape == (0, 2)


@pytest.fixture(params=["hanco", "dexycb"])
def spec(request: pytest.FixtureRequest, hanco_root: Path, dexycb_root: Path) -> str:
    """Return a split of each dataset with moments."""
    return f"hanco/train_gs:{hanco_root}" if request.param == "hanco" else f"dexycb/s0_train:{dexycb_root}"


def test_datasets_serve_moments_too(spec: str, caplog: pytest.LogCaptureFixture) -> None:
    moments = load_moments([spec], stand_in_template())
    assert moments.views == 8
    # Of DexYCB's third moment a camera has no label.
    assert len(moments) == (3 if spec.startswith("hanco") else 2)
    assert ("1 of 3 moments" in caplog.text) == spec.startswith("dexycb")
    ids = torch.tensor([1, 0])
    images, truth = moments.batch(ids)
    assert images.shape == (2, 8, 3, 224, 224)
    assert moments.hidden_share(ids).isnan().all()
    vertices = truth.vertices_cm.unflatten(0, (2, 8))
    assert (vertices - vertices[:, :1]).abs().max() < 1e-3
    points_m = torch.tensor(stand_in_template().keypoint_regressor).float() @ vertices / 100
    found = reprojected(moments.cameras(ids), points_m).flatten(0, 1)
    torch.testing.assert_close(found, truth.keypoints_crop, atol=2e-3, rtol=0)


def test_the_dataset_s_cameras_are_those_of_the_wrist_frame(spec: str) -> None:
    """Extrinsics, and the hand's pose before each camera, say the same of two cameras, for left hands too."""
    moments = load_moments([spec], stand_in_template())
    ids = torch.arange(len(moments))
    from_world = moments.camera_from_world(ids)  # type: ignore[union-attr]
    expected = from_world[:, :, None] @ torch.linalg.inv(from_world)[:, None]
    torch.testing.assert_close(relative_cameras(moments.cameras(ids)).double(), expected, atol=2e-4, rtol=0)


def test_crops_in_training_differ_by_step_and_their_cameras_with_them(spec: str) -> None:
    moments = load_moments([spec], stand_in_template(), 1, drawing=Drawing(seed=3))
    assert len(moments) == 1
    ids = torch.tensor([0])
    later = moments.at_step(1)  # type: ignore[union-attr]
    first, second = (one.cameras(ids).crop_from_image for one in (moments, later))
    assert (first - second).abs().max() > 1e-3
    _, truth = later.batch(ids)
    points_m = torch.tensor(stand_in_template().keypoint_regressor).float() @ truth.vertices_cm / 100
    found = reprojected(later.cameras(ids), points_m.unflatten(0, (1, 8))).flatten(0, 1)
    torch.testing.assert_close(found, truth.keypoints_crop, atol=2e-3, rtol=0)


def test_fewer_views_keep_more_moments(dexycb_root: Path) -> None:
    moments = load_moments([f"dexycb/s0_train:{dexycb_root}"], stand_in_template(), views=3)
    assert (len(moments), moments.views, len(moments.samples)) == (3, 3, 9)


def test_their_crops_are_those_of_single_samples(spec: str) -> None:
    moments, single = (
        load_moments([spec], stand_in_template()),
        load_samples([spec], stand_in_template(), None, Drawing()),
    )
    dataset = moments.samples.dataset  # type: ignore[union-attr]
    assert isinstance(dataset, MultiViewDataset)
    for number in range(len(moments)):
        rows = dataset.views(int(moments.samples.rows[number * 8]))  # type: ignore[union-attr, attr-defined]
        assert [dataset.camera(int(row)) for row in rows] == list(range(8))
        assert torch.equal(moments.batch(torch.tensor([number]))[0][0], single.batch(torch.from_numpy(rows))[0])


def test_without_mano_the_crops_have_cameras_but_no_hand(spec: str) -> None:
    cameras = load_moments([spec], TEMPLATE, drawing=Drawing(whole_truth=False)).cameras(torch.tensor([0]))
    assert cameras.camera_from_wrist.isnan().all()
    assert cameras.camera_matrix.isfinite().all()
    assert cameras.crop_from_image.isfinite().all()


def test_a_missing_view_stops_the_batch(tmp_path: Path) -> None:
    hanco.write("hanco", tmp_path, 1)
    moments = load_moments([f"hanco/train_gs:{tmp_path}"], stand_in_template())
    next((tmp_path / "rgb" / "0000" / "cam3").glob("*.jpg")).write_bytes(b"")
    with raises(ErrorCode.FILE_DAMAGED, match="cam3"):
        moments.batch(torch.tensor([0]))


def test_datasets_without_moments_are_named(tmp_path: Path, dexycb_root: Path) -> None:
    from tests.fake_datasets import freihand

    freihand.write("freihand", tmp_path, 2)
    with raises(ErrorCode.NOT_PROVIDED, match="freihand has no moments.*hanco and dexycb"):
        load_moments([f"freihand:{tmp_path}"], stand_in_template())
    # One camera of eight.
    with raises(ErrorCode.NOT_PROVIDED, match="no moment that 2 cameras saw"):
        load_moments([f"dexycb/s2_test:{dexycb_root}"], stand_in_template())
    with raises(ErrorCode.NOT_PROVIDED, match="no moment that 9 cameras saw"):
        load_moments([f"dexycb/s0_train:{dexycb_root}"], stand_in_template(), views=9)
