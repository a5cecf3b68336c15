"""Rasterisation against rays through every pixel's centre and every vertex, one by one against all triangles."""

import numpy as np
import pytest
import torch

from handviz.core.visibility import DEPTH_TOLERANCE, self_visible
from handviz.hand_models.anatomy import pose_from_angles, sample_angles
from handviz.hand_models.layer import HandLayer
from handviz.models.texture.rasterise import interpolated, rasterise, visible_vertices

SIZE = 64
HANDS = 4


@pytest.fixture(scope="module")
def faces(template):
    return torch.tensor(template.faces).long()


@pytest.fixture(scope="module")
def points(template, axes):
    """(HANDS, 778, 3) hands in natural poses, seen from anywhere, some reaching out of the image."""
    rng = np.random.default_rng(3)
    pose = pose_from_angles(sample_angles(rng, HANDS), axes).reshape(HANDS, 45)
    with torch.no_grad():
        vertices = HandLayer(template)(torch.from_numpy(pose).float(), torch.zeros(HANDS, 10)).vertices_m
    turns = torch.linalg.qr(torch.from_numpy(rng.normal(size=(HANDS, 3, 3))).float())[0]
    turns = turns * torch.linalg.det(turns)[:, None, None]
    scale = torch.tensor([7.0, 9.0, 11.0, 14.0])[:, None, None]
    return (scale * (vertices - vertices.mean(1, keepdim=True)) @ turns.transpose(1, 2)).double()


def rays(corners, at):
    """Which triangles (F, 3, 3) rays along z through (N, 2) meet, and at which depth: (N, F) each."""
    first, second, third = (corners[:, None, number] for number in range(3))

    def side(start, end):
        return (end - start)[..., 0] * (at - start[..., :2])[..., 1] - (end - start)[..., 1] * (at - start[..., :2])[
            ..., 0
        ]

    sides = np.stack([side(second, third), side(third, first), side(first, second)])
    area = sides.sum(0)
    met = ((sides >= 0).all(0) | (sides <= 0).all(0)) & (np.abs(area) > 1e-12)
    weights = sides / np.where(np.abs(area) > 1e-12, area, 1)
    depth = sum(weights[number] * corners[:, None, number, 2] for number in range(3))
    return met.T, np.where(met, depth, np.inf).T


def middles(size):
    steps = (np.arange(size) + 0.5) / (size / 2) - 1
    return np.stack(np.meshgrid(steps, steps, indexing="xy"), -1).reshape(-1, 2)


def silhouette_distance(hand, faces, at):
    """How far (N, 2) lie from the nearest edge between a triangle that faces the camera and one that does not."""
    corners = hand[faces]
    turned = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] < 0
    sides: dict[tuple[int, int], list[bool]] = {}
    for face, towards in zip(faces, turned, strict=True):
        for start, end in ((0, 1), (1, 2), (2, 0)):
            sides.setdefault((min(face[start], face[end]), max(face[start], face[end])), []).append(bool(towards))
    edges = np.array([edge for edge, towards in sides.items() if len(set(towards)) == 2 or len(towards) == 1])
    start, end = hand[edges[:, 0], :2], hand[edges[:, 1], :2]
    along = end - start
    fraction = ((at[:, None] - start) * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-12)
    foot = start + np.clip(fraction, 0, 1)[..., None] * along
    return np.linalg.norm(at[:, None] - foot, axis=-1).min(1)


@pytest.mark.slow
def test_every_pixel_sees_the_nearest_triangle_that_its_ray_meets(points, faces):
    raster = rasterise(points, faces, SIZE)
    for hand, triangle, depth in zip(points.numpy(), raster.triangle.numpy(), raster.depth.numpy(), strict=True):
        met, depths = rays(hand[faces.numpy()], middles(SIZE))
        assert 150 < met.any(1).sum() < SIZE * SIZE
        assert ((triangle.ravel() >= 0) == met.any(1)).mean() > 0.9995
        both = (triangle.ravel() >= 0) & met.any(1)
        np.testing.assert_allclose(depth.ravel()[both], depths.min(1)[both], atol=1e-4)


def test_weights_lead_back_to_the_pixel_and_to_its_depth(points, faces):
    raster = rasterise(points, faces, SIZE)
    found = interpolated(points, faces, raster)
    wanted = torch.from_numpy(middles(SIZE)).view(SIZE, SIZE, 2).expand(HANDS, -1, -1, -1)
    torch.testing.assert_close(found[..., :2][raster.mask], wanted[raster.mask], atol=1e-6, rtol=0)
    torch.testing.assert_close(found[..., 2][raster.mask], raster.depth[raster.mask], atol=1e-4, rtol=0)
    assert (found[~raster.mask] == 0).all()
    assert not raster.depth[~raster.mask].isfinite().any()


def seen_in_raster(points, faces):
    return visible_vertices(points, faces, rasterise(points, faces)).numpy()


def seen_by_planes(points, faces):
    """Use the live program's function; it knows no image, so its border is added here."""
    open_to_the_eye = np.stack([self_visible(hand, faces.numpy().astype(np.int32)) for hand in points.numpy()])
    return open_to_the_eye & (np.abs(points[..., :2].numpy()) <= 1).all(-1)


@pytest.mark.parametrize("seen_vertices", [seen_in_raster, seen_by_planes])
def test_vertices_are_seen_as_rays_say_away_from_silhouettes(points, faces, seen_vertices):
    found = seen_vertices(points, faces)
    agreed, hidden = [], 0
    for hand, seen in zip(points.numpy(), found, strict=True):
        _, depths = rays(hand[faces.numpy()], hand[:, :2])
        own = (faces.numpy()[None] == np.arange(len(hand))[:, None, None]).any(-1)
        in_front = np.where(own, np.inf, depths).min(1) < hand[:, 2] - DEPTH_TOLERANCE
        truth = ~in_front & (np.abs(hand[:, :2]) <= 1).all(1)
        clear = silhouette_distance(hand, faces.numpy(), hand[:, :2]) > 2 * 2 / 224
        agreed += list((seen == truth)[clear])
        hidden += (~truth).sum()
    assert len(agreed) > 800
    assert hidden > 1000
    assert np.mean(agreed) > 0.99


def test_any_topology_will_do_such_as_mano_s_778_vertices_and_1538_triangles():
    rng = np.random.default_rng(8)
    vertices = rng.uniform(-0.9, 0.9, (778, 3))
    near = np.argsort(np.linalg.norm(vertices[:, None] - vertices, axis=2), axis=1)[:, 1:3]
    corners = np.column_stack([np.arange(778), near])
    faces = torch.from_numpy(np.concatenate([corners, corners[:760, ::-1]]))
    raster = rasterise(torch.from_numpy(vertices)[None], faces, SIZE)
    met, depths = rays(vertices[faces.numpy()], middles(SIZE))
    both = met.any(1) & (raster.triangle.numpy().ravel() >= 0)
    assert (met.any(1) == (raster.triangle.numpy().ravel() >= 0)).mean() > 0.999
    assert both.sum() > 500
    np.testing.assert_allclose(raster.depth.numpy().ravel()[both], depths.min(1)[both], atol=1e-4)


def test_a_vertex_that_is_nowhere_is_hidden_and_hides_nothing(points, faces):
    hand = points[0].numpy().copy()
    whole = self_visible(hand, faces.numpy().astype(np.int32))
    hand[5] = np.nan
    found = self_visible(hand, faces.numpy().astype(np.int32))
    assert not found[5]
    far = np.linalg.norm(points[0].numpy() - points[0].numpy()[5], axis=1) > 0.3
    assert np.array_equal(found[far], whole[far])


def test_a_hand_alone_and_in_a_batch_is_the_same(points, faces):
    together = rasterise(points, faces, SIZE)
    for number in range(HANDS):
        alone = rasterise(points[number : number + 1], faces, SIZE)
        assert torch.equal(alone.triangle[0], together.triangle[number])


def test_a_image_of_colours_passes_gradients_to_the_vertices_that_it_shows(points, faces):
    raster = rasterise(points[:1], faces, SIZE)
    colours = torch.rand(1, 778, 3, dtype=torch.float64, requires_grad=True)
    interpolated(colours, faces, raster).sum().backward()
    shown = torch.zeros(778, dtype=torch.bool)
    shown[faces[raster.triangle[raster.mask]].flatten()] = True
    assert torch.equal(colours.grad.abs().sum((0, 2)) > 0, shown)
    assert colours.grad[..., 0].sum() == pytest.approx(float(raster.mask.sum()))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 1e9])
def test_points_that_are_nowhere_and_triangles_of_no_area_harm_nothing(points, faces, wrong):
    hand = points[:1].clone()
    hand[:, 5] = wrong
    hand[:, 6] = hand[:, 7]
    raster = rasterise(hand, faces, SIZE)
    assert raster.weights.isfinite().all()
    seen = visible_vertices(hand, faces, raster)
    assert not seen[0, 5]
    assert seen.any()


def test_a_hand_outside_of_the_image_is_not_there(points, faces):
    away = points[:2] + torch.tensor([5.0, 0.0, 0.0])
    raster = rasterise(away, faces, SIZE)
    assert not raster.mask.any()
    assert not visible_vertices(away, faces, raster).any()


def test_of_two_walls_the_nearer_is_seen_from_either_side_of_its_triangles():
    square = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    near, far = (
        torch.nn.functional.pad(square * width, (0, 1), value=depth) for width, depth in ((0.5, 1.0), (1, 2.0))
    )
    walls = torch.cat([near, far])[None]
    for order in ([[0, 1, 2], [0, 2, 3]], [[0, 2, 1], [0, 3, 2]]):
        faces = torch.tensor([*order, *(torch.tensor(order) + 4).tolist()])
        raster = rasterise(walls, faces, 8)
        assert raster.depth[0, 3, 3] == 1
        assert raster.depth[0, 2, 2] == 2
        assert raster.mask.sum() == 16
        assert visible_vertices(walls, faces, raster).all()
