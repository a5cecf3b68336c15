"""Measure how wide reconstructed hands are in the image, against rendered truth or the skin of photographs.

Widths are those across a finger or the palm at places along the mesh's own bones. On rendered crops the truth is the
mesh that was drawn; on photographs it is the run of skin across the same place, found by colour. The same colours are
searched on rendered crops too, so that the error of that search is known.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from tqdm import tqdm

import tools
from handviz.core.arguments import Count, ModelFolder, Seed
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import apply_affine
from handviz.core.output import print_result
from handviz.core.paths import MODELS
from handviz.core.records import CROP_SIZE, FloatArray, Frame, HandMesh
from handviz.data.synthetic.generator import render_samples
from handviz.data.synthetic.sample import Sample
from handviz.hand_models.choice import hand_model_or_named
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.template import HandTemplate
from handviz.models.registry import ModelChoice
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.sources.file_kinds import IMAGE_SUFFIXES
from handviz.sources.images import image_frame

PATCH_PX = 448
PATCH_EXTENTS = 1.7
"""Side of the patch in extents of the hand's keypoints."""
MAX_HIDDEN = 0.15
"""Fraction of a rendered hand that objects may hide."""
SAME_HAND = 0.15
"""Largest mean distance of projected keypoints from the true ones, in extents."""
ANGLES_DEG = np.arange(-25, 26, 5)
"""Rotations of a line: a width is the narrowest of them, as bones of mesh and image differ slightly in direction."""
STEP_PX = 0.5
REACH = 1.7
"""Largest width that is searched, in widths of the mesh."""
CLEAR = 0.2
"""What has to be no skin beyond either edge, in widths of the mesh."""
COLOUR_BINS = 20
"""Of each axis of CIE Lab."""
FINGERS = ("thumb", "index", "middle", "ring", "little")
ALONG = {"base": (0, 0.5), "PIP": (1, 0.0), "middle": (1, 0.5), "DIP": (2, 0.0), "pulp": (2, 0.5), "tip": (2, 0.8)}
"""Bone of the finger, counted from its first joint, and the fraction along it."""
OUTER_KNUCKLES = (17, 5)


class Line(NamedTuple):
    """A place in a patch and the direction across it."""

    centre: FloatArray
    """(2,) px"""
    across: FloatArray
    """(2,) unit vector"""

    def rotated(self, angle_deg: float) -> "Line":
        """Return the line rotated about its centre."""
        cosine, sine = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
        return Line(self.centre, np.array([[cosine, -sine], [sine, cosine]]) @ self.across)


class Outline(NamedTuple):
    """A projected mesh in a patch."""

    vertices: FloatArray
    """(V, 2) px"""
    keypoints: FloatArray
    """(21, 2) px"""
    faces: NDArray[np.int32]


def lines(keypoints: FloatArray) -> dict[str, Line]:
    """Return the places of a hand of projected keypoints (21, 2), by name."""
    found = {}
    for finger, name in enumerate(FINGERS):
        for place, (bone, fraction) in ALONG.items():
            if finger == 0 and place == "base":
                continue
            start, end = keypoints[1 + 4 * finger + bone], keypoints[2 + 4 * finger + bone]
            # Across a joint the line halves the angle between its bones.
            before = keypoints[4 * finger + bone] if fraction == 0 else start
            found[f"{name} {place}"] = Line(start + fraction * (end - start), _across(end - before))
    wrist, knuckle = keypoints[0], keypoints[9]
    found["palm"] = Line(wrist + 0.6 * (knuckle - wrist), _across(knuckle - wrist))
    outer = keypoints[list(OUTER_KNUCKLES)]
    found["knuckles"] = Line(outer.mean(axis=0), _across(_across(outer[1] - outer[0])))
    return found


def _across(along: FloatArray) -> FloatArray:
    """Return the unit vector (2,) at right angles to a direction."""
    normal = np.array([-along[1], along[0]])
    return np.asarray(normal / max(float(np.linalg.norm(normal)), 1e-9))


def mesh_run(outline: Outline, line: Line) -> tuple[float, float] | None:
    """Return where the line enters and leaves the mesh's silhouette about its centre, px; None beside the mesh."""
    offsets = outline.vertices - line.centre
    along = offsets @ line.across
    height = offsets @ np.array([-line.across[1], line.across[0]])
    corners = height[outline.faces]
    crossed = (corners.min(axis=1) < 0) & (corners.max(axis=1) >= 0)
    if not crossed.any():
        return None
    starts, ends = outline.faces[crossed], np.roll(outline.faces[crossed], -1, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = along[starts] + height[starts] / (height[starts] - height[ends]) * (along[ends] - along[starts])
    at = np.where((height[starts] < 0) != (height[ends] < 0), at, np.nan)
    return _about_zero(np.stack([np.nanmin(at, axis=1), np.nanmax(at, axis=1)], axis=1))


def _about_zero(intervals: FloatArray) -> tuple[float, float] | None:
    """Return the part of a union of intervals (N, 2) that contains 0."""
    start = end = -np.inf
    for low, high in sorted(map(tuple, intervals)):
        if low > end + 1e-6:
            if start <= 0 <= end:
                break
            start = low
        end = max(end, high)
    return (float(start), float(end)) if start <= 0 <= end else None


def mesh_width(outline: Outline, line: Line) -> tuple[float, Line] | None:
    """Return the width of the silhouette across a place, px, and the line, centred, along which it is least."""
    best: tuple[float, Line] | None = None
    for angle in ANGLES_DEG:
        rotated = line.rotated(float(angle))
        run = mesh_run(outline, rotated)
        if run and (best is None or run[1] - run[0] < best[0]):
            best = run[1] - run[0], Line(rotated.centre + rotated.across * sum(run) / 2, rotated.across)
    return best


def skin_width(probability: NDArray[np.float32], line: Line, mesh_px: float) -> float | None:
    """Return the narrowest run of skin (S, S) about a line's centre, px; None without clear edges on both sides."""
    widths = [_skin_run(probability, line.rotated(float(angle)), mesh_px) for angle in ANGLES_DEG]
    known = [width for width in widths if width is not None]
    return min(known) if len(known) > len(widths) // 2 else None


def _skin_run(probability: NDArray[np.float32], line: Line, mesh_px: float) -> float | None:
    clear = round(CLEAR * mesh_px / STEP_PX)
    half = int(REACH * mesh_px / STEP_PX)
    at = line.centre + np.arange(-half - clear, half + clear + 1)[:, None] * STEP_PX * line.across
    # OpenCV's pixel centres lie at whole numbers, ours at halves.
    points = (at - 0.5).astype(np.float32)
    profile = cv2.remap(probability, points[:, :1], points[:, 1:], cv2.INTER_LINEAR)[:, 0]
    inside = profile > 0.5
    centre = half + clear
    if not inside[centre - clear : centre + clear + 1].all():
        return None
    outside = np.flatnonzero(~inside)
    before, after = outside[outside < centre], outside[outside > centre]
    if not len(before) or not len(after):
        return None
    low, high = before[-1], after[0]
    cut = low < clear or high + clear >= len(inside)
    if cut or inside[low - clear : low].any() or inside[high : high + clear].any():
        return None
    left = low + (0.5 - profile[low]) / (profile[low + 1] - profile[low])
    right = high - (0.5 - profile[high]) / (profile[high - 1] - profile[high])
    return float(right - left) * STEP_PX


def skin_probability(patch: NDArray[np.uint8], outline: Outline) -> NDArray[np.float32]:
    """Return how likely each pixel of a patch (S, S, 3) is skin, from the colours inside the mesh and far from it."""
    inside = np.zeros(patch.shape[:2], np.uint8)
    for face in outline.vertices[outline.faces]:
        cv2.fillConvexPoly(inside, np.round(face - 0.5).astype(np.int32), 1)
    unit = int(np.ptp(outline.keypoints, axis=0).max() / 40) + 1
    core = cv2.erode(inside, np.ones((2 * unit + 1, 2 * unit + 1), np.uint8)) > 0
    near = cv2.dilate(inside, np.ones((8 * unit + 1, 8 * unit + 1), np.uint8)) > 0
    rows, columns = np.mgrid[: len(patch), : len(patch)] + 0.5
    arm = outline.keypoints[0] - outline.keypoints[9]
    on_arm = (columns - outline.keypoints[0, 0]) * arm[0] + (rows - outline.keypoints[0, 1]) * arm[1] > 0
    bins = _colour_bins(patch)
    skin, other = (_histogram(bins[chosen]) for chosen in (core, ~near & ~on_arm))
    likely, unlikely = skin[tuple(bins.T)].T, other[tuple(bins.T)].T
    return np.asarray(likely / (likely + unlikely), np.float32)


def _colour_bins(patch: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return bins (S, S, 3) of CIE Lab: lightness coarse, hues fine about grey."""
    colour = cv2.cvtColor(cv2.GaussianBlur(patch, (0, 0), 1.0), cv2.COLOR_RGB2LAB).astype(np.int64)
    hue = np.clip((colour[..., 1:] - 128) // 3 + COLOUR_BINS // 2, 0, COLOUR_BINS - 1)
    return np.concatenate([colour[..., :1] * COLOUR_BINS // 256, hue], axis=2)


def _histogram(bins: NDArray[np.int64]) -> FloatArray:
    """Return smoothed frequencies of the bins (N, 3); a colour that was never seen is nearly as likely as any."""
    counts = np.zeros((COLOUR_BINS,) * 3)
    np.add.at(counts, tuple(bins.T), 1.0)
    return np.asarray(gaussian_filter(counts / max(len(bins), 1), 1.0) + 1e-6)


# Hands of images, each in a patch of its own.


class Compared(NamedTuple):
    """Widths across one place, px of the patch; None where there is no truth, or no clear edge of skin."""

    place: str
    mesh: float
    skin: float | None
    truth: float | None


def patch_from_image(keypoints_px: FloatArray) -> FloatArray:
    """Return the affine (2, 3) to the patch about projected keypoints (21, 2)."""
    low, high = keypoints_px.min(axis=0), keypoints_px.max(axis=0)
    scale = PATCH_PX / (PATCH_EXTENTS * float((high - low).max()))
    return np.column_stack([np.eye(2) * scale, PATCH_PX / 2 - scale * (low + high) / 2])


def compare(image: NDArray[np.uint8], mesh: Outline, truth: Outline | None = None) -> Iterator[Compared]:
    """Yield the widths of a mesh, of the skin and of the true mesh, all projected to an RGB image (H, W, 3), px."""
    affine = patch_from_image(mesh.keypoints)
    shifted = affine.copy()
    shifted[:, 2] += affine[:, :2] @ np.full(2, 0.5) - 0.5
    patch = cv2.warpAffine(image, shifted, (PATCH_PX, PATCH_PX), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    mesh, truth = _in_patch(mesh, affine), None if truth is None else _in_patch(truth, affine)
    probability = skin_probability(np.asarray(patch, np.uint8), mesh)
    for place, line in lines(mesh.keypoints).items():
        measured = mesh_width(mesh, line)
        if measured is None or not _alone(mesh, measured, place):
            continue
        width, centred = measured
        skin = skin_width(probability, centred, width)
        true = None if truth is None else _true_width(truth, place)
        yield Compared(place, width, skin, true)


def _in_patch(outline: Outline, affine: FloatArray) -> Outline:
    return Outline(apply_affine(affine, outline.vertices), apply_affine(affine, outline.keypoints), outline.faces)


def _true_width(truth: Outline, place: str) -> float | None:
    """Return the width of the true mesh at the same place of its own bones."""
    measured = mesh_width(truth, lines(truth.keypoints)[place])
    return measured[0] if measured and _alone(truth, measured, place) else None


def _alone(outline: Outline, measured: tuple[float, Line], place: str) -> bool:
    """Return whether a finger's run is not that of several parts of the hand, or the finger seen along its bone."""
    if " " not in place:
        return True
    keypoints = outline.keypoints
    width, line = measured
    first = 1 + 4 * FINGERS.index(place.split()[0])
    finger = float(np.linalg.norm(np.diff(keypoints[first : first + 4], axis=0), axis=1).sum())
    others = np.delete(keypoints, slice(first, first + 4), axis=0)
    along = (others - line.centre) @ line.across
    beside = np.abs((others - line.centre) @ np.array([-line.across[1], line.across[0]]))
    return width < 0.55 * finger and not ((np.abs(along) < 0.6 * width) & (beside < 0.6 * width)).any()


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Rendered hands, a folder of photographs, and the model."""

    photographs: Path | None = None
    """Folder of photographs to measure besides."""
    count: Count = 200
    """Rendered hands."""
    seed: Seed = 77
    model: ModelChoice = "final"
    model_dir: ModelFolder = MODELS
    network_camera: bool = False
    """Do not let the detector's keypoints correct the network's camera."""
    network_pose: bool = False
    """Do not let MediaPipe's landmarks correct the network's pose."""


def run(arguments: Arguments) -> int:
    """Render, reconstruct, measure; print mean widths of the meshes."""
    config = PipelineConfig(
        arguments.model_dir,
        video=False,
        preload_others=False,
        align_to_detector=not arguments.network_camera,
        correct_pose=not arguments.network_pose,
    )
    with Pipeline(PipelineSettings(arguments.model), config) as pipeline:
        rendered = list(_of_rendered(pipeline, arguments.seed, arguments.count))
        photographed = [] if arguments.photographs is None else list(_of_photographs(pipeline, arguments.photographs))
    for line in table(rendered, photographed):
        print_result("%s", line)
    return 0


def outline_of(hand: HandMesh) -> Outline:
    """Return the projection of a reconstructed hand to its image."""
    return Outline(hand.vertices_px, hand.keypoints_px, hand_model_or_named(None, hand.hand_model).faces)


def _of_rendered(pipeline: Pipeline, seed: int, count: int) -> Iterator[Compared]:
    template = load_open_hand()
    samples = render_samples(np.random.default_rng(seed), count, (0.0, MAX_HIDDEN), truth="rig")
    for number, sample in enumerate(tqdm(samples, total=count, unit="hand")):
        truth = true_outline(template, sample)
        extent = float(np.ptp(truth.keypoints, axis=0).max())
        for hand in pipeline.process(Frame(number, sample.image, 0.0)).hands:
            distance = np.linalg.norm(hand.keypoints_px - truth.keypoints, axis=1).mean()
            if hand.handedness == "right" and distance < SAME_HAND * extent:
                yield from compare(sample.image, outline_of(hand), truth)


def true_outline(template: HandTemplate, sample: Sample) -> Outline:
    """Return the projection of a rendered hand to its crop."""
    known = sample.labels
    points = known["vertices"] @ known["camera_from_wrist"].T + known["wrist_camera_m"]
    projected = points @ known["camera_matrix"].T
    vertices = apply_affine(known["crop_from_image"], projected[:, :2] / projected[:, 2:])
    return Outline(vertices, (known["keypoints_crop"] + 1) * CROP_SIZE / 2, template.faces)


def _of_photographs(pipeline: Pipeline, folder: Path) -> Iterator[Compared]:
    paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        raise HandvizError(f"{folder} holds no images: name a folder of photographs", ErrorCode.EMPTY_INPUT)
    for number, path in enumerate(tqdm(paths, unit="image")):
        frame = image_frame(path, number)
        for hand in pipeline.process(frame).hands:
            yield from compare(frame.image, outline_of(hand))


# The table: median of ln(mesh / reference) as per cent, place by place.


def table(rendered: list[Compared], photographed: list[Compared]) -> list[str]:
    """Return lines: how much wider meshes are than rendered truth, than the skin found there, and than that found on
    photographs; the last column takes off what the search for skin adds on rendered hands."""
    head = ("mesh/truth", "skin/truth", "mesh/skin", "photographs", "corrected")
    rows = [f"{'':16}" + "".join(f"{name:>20}" for name in head)]
    for place in [*lines_of_all_places(), "all fingers"]:
        of_place = [one for one in rendered if _belongs(one, place)]
        on_photographs = [one for one in photographed if _belongs(one, place)]
        error = _ratio([(one.skin, one.truth) for one in of_place])
        ratios = [
            _ratio([(one.mesh, one.truth) for one in of_place]),
            error,
            _ratio([(one.mesh, one.skin) for one in of_place]),
            (real := _ratio([(one.mesh, one.skin) for one in on_photographs])),
        ]
        corrected = real[0] + error[0]
        rows.append(f"{place:16}" + "".join(map(_cell, ratios)) + f"{corrected:+19.1f}%")
    return rows


def lines_of_all_places() -> list[str]:
    """Return the names of all places."""
    return list(lines(np.random.default_rng(0).normal(size=(21, 2))))


def _belongs(one: Compared, place: str) -> bool:
    return one.place == place or (place == "all fingers" and " " in one.place)


def _ratio(pairs: list[tuple[float | None, float | None]]) -> tuple[float, float, int]:
    """Return median and standard error of 100 ln(first / second), and the number of pairs that are known."""
    known = [100 * np.log(first / second) for first, second in pairs if first and second]
    if len(known) < 3:
        return np.nan, np.nan, len(known)
    return float(np.median(known)), float(1.25 * np.std(known) / np.sqrt(len(known))), len(known)


def _cell(ratio: tuple[float, float, int]) -> str:
    return f"{ratio[0]:+7.1f} ±{ratio[1]:4.1f} ({ratio[2]:4d})"


if __name__ == "__main__":
    sys.exit(tools.run("silhouettes"))
