"""Scores of vertex colours: in the image, and on vertices that it does not show (paper, Table 6).

On the hand region of a crop: SSIM (Wang et al. 2004, by scikit-image) and PSNR between the image and the hand drawn
from vertex colours. On vertices: PSNR and mean error against the generator's true colours.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from tqdm import tqdm

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import read_arrays
from handviz.core.metrics import decibel
from handviz.core.records import CROP_SIZE, FloatArray
from handviz.data.synthetic.dataset import REMEDY, Crops, Shard, bits, read_shard, shard_numbers, shows_hand
from handviz.data.synthetic.generator import images_file
from handviz.detection.crop import points_in_crop
from handviz.evaluation.evaluate import Predictor
from handviz.hand_models.template import HandTemplate
from handviz.models.texture.rasterise import Raster, interpolated, rasterise
from handviz.models.texture.training_samples import DARKEST_SHOWN, OF_COLOURS, front_triangles, mesh_points

BATCH = 16
MIN_REGION = 200
"""Pixels; smaller regions have no structure to compare."""
LEVELS = 255.0
Window = Literal["uniform", "gaussian"]
WINDOWS: dict[Window, dict[str, Any]] = {
    "uniform": {},
    "gaussian": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
}
"""scikit-image's own window, 7 x 7 pixels of equal weight, and that of Wang et al. 2004, 11 x 11 under a Gaussian."""


class Colours(NamedTuple):
    """A method's colours of hands, (N, V, 3) each, sRGB in [0, 1]."""

    rgb: FloatArray
    """in the image's light"""
    albedo: FloatArray
    """in uniform light; equal to ``rgb`` for methods without albedo"""


Method = Callable[[FloatArray, FloatArray], Colours]
"""Images (N, 3, 224, 224) and points (N, V, 3) in crop half-sides -> Colours."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Some held-out crops with the meshes to be coloured."""

    images: NDArray[np.uint8]
    """(N, 224, 224, 3)"""
    points: FloatArray
    """(N, V, 3) crop half-sides"""
    mask: NDArray[np.bool_]
    """(N, 224, 224)"""
    visible: NDArray[np.bool_]
    """(N, V)"""
    visible_alone: NDArray[np.bool_]
    """(N, V)"""
    hidden_fraction: FloatArray
    """(N,)"""
    lit: NDArray[np.uint8]
    even: NDArray[np.uint8]

    @property
    def float_images(self) -> FloatArray:
        """(N, 3, 224, 224) in [0, 1]."""
        return np.ascontiguousarray(self.images.transpose(0, 3, 1, 2), np.float32) / np.float32(LEVELS)


@dataclass(frozen=True)
class Score:
    """One method's scores on one crop; NaN where there is nothing to compare."""

    ssim: float
    psnr: float
    hidden_even: float
    """Mean squared error of vertices occluded by objects, against the true albedo"""
    hidden_lit: float
    """the same against the true colours in the image's light"""
    hidden_levels: float
    """Mean absolute error of the latter, of 255"""
    away_even: float
    """Mean squared error of vertices that the hand itself occludes, against the true albedo"""
    away_lit: float


def scenes(crops: Sequence[Crops], template: HandTemplate, predict: Predictor | None = None) -> Iterator[Scene]:
    """Yield batches of crops that show a hand, with their true meshes or those of ``predict``."""
    for part in crops:
        left = part.limit
        for number in shard_numbers(part.directory):
            if left is not None and left <= 0:
                break
            shard = read_shard(part.directory, number)
            for scene in _scenes_of_shard(part.directory, number, shard, left, template):
                yield scene if predict is None else _with_points(scene, predict)
            left = None if left is None else left - len(shard.images)


def _scenes_of_shard(
    directory: Path, number: int, shard: Shard, limit: int | None, template: HandTemplate
) -> Iterator[Scene]:
    """Yield the hands among the first ``limit`` crops of a shard."""
    path, count = images_file(directory, number), len(shard.images)
    columns = read_arrays(path, REMEDY)
    if "vertex_lit" not in columns or "vertex_even" not in columns:
        raise HandvizError(f"{path} {OF_COLOURS}", ErrorCode.VERSION_MISMATCH)
    mask = bits(columns, "mask_bits", path, (count, CROP_SIZE**2)).reshape(count, CROP_SIZE, CROP_SIZE)
    points = mesh_points(shard.labels, template)
    hands = np.flatnonzero(shows_hand(shard.labels)[:limit])
    for start in range(0, len(hands), BATCH):
        rows = hands[start : start + BATCH]
        yield Scene(
            shard.images[rows], points[rows], mask[rows], shard.visible[rows], shard.visible_alone[rows],
            shard.labels["hidden_share"][rows], columns["vertex_lit"][rows], columns["vertex_even"][rows],
        )  # fmt: skip


def _with_points(scene: Scene, predict: Predictor) -> Scene:
    return replace(scene, points=np.stack([points_in_crop(hand.vertices_m, hand) for hand in predict(scene.images)]))


def rasters(points: FloatArray, faces: torch.Tensor) -> Raster:
    """Rasterise points (N, V, 3), without what is seen through the open wrist."""
    raster = rasterise(torch.from_numpy(np.asarray(points, np.float32)), faces)
    return raster._replace(triangle=front_triangles(points, faces))


def scores(
    scene: Scene, methods: dict[str, Method], faces: torch.Tensor, window: Window = "uniform"
) -> dict[str, list[Score]]:
    """Score every method on every crop of a scene."""
    raster = rasters(scene.points, faces)
    region = raster.mask.numpy() & scene.mask & (scene.float_images.max(axis=1) > DARKEST_SHOWN)
    found: dict[str, list[Score]] = {}
    for name, method in methods.items():
        colours = method(scene.float_images, scene.points)
        drawn = interpolated(torch.from_numpy(np.asarray(colours.rgb, np.float32)), faces, raster).numpy()
        found[name] = [
            Score(
                *similarity_and_noise(scene.images[row] / LEVELS, drawn[row], region[row], window),
                *_of_vertices(scene, colours, row),
            )
            for row in range(len(region))
        ]
    return found


def similarity_and_noise(
    image: FloatArray, drawn: FloatArray, region: NDArray[np.bool_], window: Window = "uniform"
) -> tuple[float, float]:
    """Return SSIM and PSNR on the region (224, 224) of the drawn hand over the image, both (224, 224, 3) in [0, 1].

    SSIM is the mean over the region and the colours of scikit-image's map, whose windows reach over the region's edge;
    PSNR is that of the region's pixels alone. nan for regions too small.
    """
    if region.sum() < MIN_REGION:
        return float("nan"), float("nan")
    shown = np.where(region[..., None], drawn, image)
    _, similar = structural_similarity(image, shown, channel_axis=2, data_range=1.0, full=True, **WINDOWS[window])
    return float(similar[region].mean()), decibel(float(((shown - image)[region] ** 2).mean()))


def _of_vertices(scene: Scene, colours: Colours, row: int) -> tuple[float, ...]:
    by_things = scene.visible_alone[row] & ~scene.visible[row]
    away = ~scene.visible_alone[row]
    even, lit = scene.even[row] / LEVELS, scene.lit[row] / LEVELS
    of_uniform, of_lit = colours.albedo[row] - even, colours.rgb[row] - lit

    def squared(difference: FloatArray, where: NDArray[np.bool_]) -> float:
        return float((difference[where] ** 2).mean()) if where.any() else float("nan")

    levels = float(np.abs(of_lit[by_things]).mean() * LEVELS) if by_things.any() else float("nan")
    return (
        squared(of_uniform, by_things), squared(of_lit, by_things), levels,
        squared(of_uniform, away), squared(of_lit, away),
    )  # fmt: skip


def projective_sampling(float_images: FloatArray, points: FloatArray) -> Colours:
    """Return the baseline without a network: every vertex has the image's colour at its projection, visible or not."""
    at = torch.from_numpy(np.asarray(points[:, :, None, :2], np.float32))
    found = torch.nn.functional.grid_sample(
        torch.from_numpy(float_images), at, align_corners=False, padding_mode="border"
    ).squeeze(3)
    rgb = found.transpose(1, 2).numpy()
    return Colours(rgb, rgb)


def evaluate_methods(
    batches: Iterable[Scene], methods: dict[str, Method], template: HandTemplate, window: Window = "uniform"
) -> tuple[dict[str, list[Score]], FloatArray]:
    """Return all scores of every method, and the hidden fractions of the crops (N,)."""
    faces = torch.tensor(template.faces).long()
    found: dict[str, list[Score]] = {name: [] for name in methods}
    fractions: list[float] = []
    for scene in tqdm(batches, desc="texture", unit="batch"):
        for name, values in scores(scene, methods, faces, window).items():
            found[name] += values
        fractions += scene.hidden_fraction.tolist()
    return found, np.array(fractions)


PARTS: tuple[tuple[str, Callable[[FloatArray], NDArray[np.bool_]]], ...] = (
    ("nothing before the hand", lambda fraction: fraction == 0),
    ("things hide less than half", lambda fraction: (fraction > 0) & (fraction < 0.5)),
    ("things hide half or more", lambda fraction: fraction >= 0.5),
)


def table(found: dict[str, list[Score]], fractions: FloatArray) -> str:
    """Return a Markdown table, a row per method and part; PSNR over vertices is that of a part's mean squared error."""
    header = (
        "| crops | method | SSIM | PSNR | hidden by things: PSNR to known albedo | to known light | error of 255 "
        "| turned away: to known albedo | to known light |\n|---|---|---|---|---|---|---|---|---|"
    )
    rows = []
    for part, chosen in PARTS:
        where = np.flatnonzero(chosen(fractions))
        for name, values in found.items():
            own = [values[row] for row in where]
            if own:
                rows.append(f"| {part} ({len(own)}) | {name} | {' | '.join(_cells(own))} |")
    return "\n".join([header, *rows])


def _cells(values: Sequence[Score]) -> list[str]:
    columns = {field.name: np.array([getattr(value, field.name) for value in values]) for field in fields(Score)}
    means = {name: float(np.nanmean(column)) if np.isfinite(column).any() else None for name, column in columns.items()}

    def cell(name: str, text: str, turn: Callable[[float], float] = float) -> str:
        value = means[name]
        return "–" if value is None else text.format(turn(value))

    return [
        cell("ssim", "{:.3f}"), cell("psnr", "{:.1f}"), cell("hidden_even", "{:.1f}", decibel),
        cell("hidden_lit", "{:.1f}", decibel), cell("hidden_levels", "{:.1f}"), cell("away_even", "{:.1f}", decibel),
        cell("away_lit", "{:.1f}", decibel),
    ]  # fmt: skip
