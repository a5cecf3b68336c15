"""Several calibrated views of one hand: epipolar geometry, triangulation, and which views belong together.

Formulas: Hartley and Zisserman, Multiple View Geometry (2nd edition, 2004): eq. 9.12 (essential matrix), 9.11
(fundamental matrix), 11.10 (symmetric epipolar distance), section 12.2 (linear triangulation). Pixels count as in
``records``: the centre of the first one is (0.5, 0.5).
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import cross_matrix
from handviz.core.records import NEAREST_M, Detection, FloatArray, Handedness, HandMesh, Intrinsics

MAX_ERROR_FRACTION = 0.08
"""Of the longer side of the hand's box in a view: the largest median reprojection error of a view that fits. On
rendered moments two views of a hand that the detector found in both have 0.01 to 0.06, those of which one shows too
little of it 0.15 and more."""
LEAST_POINTS = 8
"""From so many keypoints the place of a camera is found again."""
WRIST, MIDDLE_KNUCKLE = 0, 9
PALM_LIMITS_M = (0.03, 0.2)
"""Wrist to middle knuckle of a triangulated hand: 7 to 11 cm in adults, less in children."""
MIN_EXTENT_PX = 4.0
LEAST_DETERMINANT = 1e-9
"""Of a triangulated point's fourth coordinate: below, its rays are parallel."""
FlawKind = Literal["mirrored", "inverted", "scale", "behind", "extrinsics", "other hand", "alone", "no hand"]


@dataclass(frozen=True, eq=False)
class CalibratedView:
    """A camera whose place in the world is known."""

    intrinsics: Intrinsics
    camera_from_world: FloatArray
    """(4, 4) rigid, metres"""

    @property
    def projection(self) -> FloatArray:
        """(3, 4) from homogeneous world coordinates in metres to homogeneous pixels."""
        return np.asarray(self.intrinsics.matrix @ self.camera_from_world[:3])

    @property
    def centre_m(self) -> FloatArray:
        """(3,) the camera's position in the world."""
        return np.asarray(-self.camera_from_world[:3, :3].T @ self.camera_from_world[:3, 3])

    def in_camera(self, points_m: FloatArray) -> FloatArray:
        """Map points (..., 3) of the world to the camera's frame."""
        return np.asarray(points_m @ self.camera_from_world[:3, :3].T + self.camera_from_world[:3, 3])


@dataclass(frozen=True, eq=False)
class ViewHand:
    """The keypoints of one hand in one view."""

    name: str
    """Of the view."""
    camera: CalibratedView
    keypoints_px: FloatArray
    """(21, 2); nan where a keypoint is not seen"""
    handedness: Handedness = "right"
    score: float = 1.0
    weights: FloatArray | None = None
    """(21,) of the keypoints in the triangulation, 0 or more; those with 0 count nowhere; None: all the same"""

    @property
    def extent_px(self) -> float:
        """The longer side of the keypoints' box."""
        seen = self.keypoints_px[np.isfinite(self.keypoints_px).all(axis=1)]
        return max(float(np.ptp(seen, axis=0).max()), MIN_EXTENT_PX) if len(seen) else MIN_EXTENT_PX

    @property
    def used(self) -> NDArray[np.bool_]:
        """(21,) whether each keypoint is seen and has a weight."""
        is_seen = np.isfinite(self.keypoints_px).all(axis=1)
        return np.asarray(is_seen if self.weights is None else is_seen & (self.weights > 0))


@dataclass(frozen=True)
class LeftOutView:
    """A view that is not used for a hand, and why."""

    name: str
    kind: FlawKind | Literal["time", "unreadable"]
    reason: str
    """In words, without the view's name."""


@dataclass(frozen=True, eq=False)
class ViewCheck:
    """Which views of a hand belong together."""

    kept: tuple[str, ...]
    """Two or more that fit each other; one where no two do; in the order given"""
    left_out: tuple[LeftOutView, ...]
    keypoints_m: FloatArray | None = field(default=None, repr=False)
    """(21, 3) triangulated from the kept views, in the world; None for a single view"""


@dataclass(frozen=True, eq=False)
class MultiViewHand:
    """A hand reconstructed from the views of a moment."""

    hand: HandMesh
    """In the frame of the first view's camera"""
    detection: Detection
    """In the first view's image"""
    views: tuple[str, ...]
    """The names of the views that it was reconstructed from; one: by a model of one view"""
    left_out: tuple[LeftOutView, ...] = ()
    """Views of the moment that do not show it, or do not fit"""


def rigid_inverse(transform: FloatArray) -> FloatArray:
    """Return the inverse (4, 4) of a rigid transform (4, 4)."""
    inverse = np.eye(4)
    inverse[:3, :3] = transform[:3, :3].T
    inverse[:3, 3] = -transform[:3, :3].T @ transform[:3, 3]
    return inverse


def essential_matrix(first: CalibratedView, second: CalibratedView) -> FloatArray:
    """Return E (3, 3): ``x2 @ E @ x1`` is 0 for rays x1, x2 of both cameras through one point (eq. 9.12)."""
    relative = second.camera_from_world @ rigid_inverse(first.camera_from_world)
    return np.asarray(cross_matrix(relative[:3, 3]) @ relative[:3, :3])


def fundamental_matrix(first: CalibratedView, second: CalibratedView) -> FloatArray:
    """Return F (3, 3): ``x2 @ F @ x1`` is 0 for homogeneous pixels x1, x2 of one point (eq. 9.11)."""
    to_first, to_second = np.linalg.inv(first.intrinsics.matrix), np.linalg.inv(second.intrinsics.matrix)
    return np.asarray(to_second.T @ essential_matrix(first, second) @ to_first)


def epipolar_distances_px(fundamental: FloatArray, first_px: FloatArray, second_px: FloatArray) -> FloatArray:
    """Return the distances (N, 2) of points (N, 2) in the first and second image from the lines of the other's.

    The sum of their squares is the symmetric epipolar distance (eq. 11.10). inf for points whose line is undetermined.
    """
    first, second = (np.concatenate([points, np.ones((len(points), 1))], axis=1) for points in (first_px, second_px))
    lines_in_second, lines_in_first = first @ fundamental.T, second @ fundamental
    algebraic = np.abs((second * lines_in_second).sum(axis=1))
    norms = np.stack([np.hypot(*lines[:, :2].T) for lines in (lines_in_first, lines_in_second)], axis=1)
    return np.divide(algebraic[:, None], norms, out=np.full(norms.shape, math.inf), where=norms > 0)


def symmetric_epipolar_distance_px(first: ViewHand, second: ViewHand) -> FloatArray:
    """Return the root (21,) of the mean squared distance of each keypoint from the other view's line, in both views."""
    fundamental = fundamental_matrix(first.camera, second.camera)
    distances = epipolar_distances_px(fundamental, first.keypoints_px, second.keypoints_px)
    return np.asarray(np.sqrt(np.square(distances).mean(axis=1)))


def triangulate(
    cameras: Sequence[CalibratedView], points_px: FloatArray, weights: FloatArray | None = None
) -> FloatArray:
    """Return the points (K, 3) in the world, metres, that N cameras see at ``points_px`` (N, K, 2).

    Linear: the singular vector of two equations a view (section 12.2), in rays, so that all views count the same
    whatever their focal length. ``weights`` (N, K) are factors on a view's equations, 0 leaves it out, and so does nan
    of ``points_px``. nan for points with fewer than two views or with parallel rays.
    """
    rays = np.stack(
        [(of - one.intrinsics.centre_px) / one.intrinsics.focals_px for one, of in zip(cameras, points_px, strict=True)]
    )
    is_seen = np.isfinite(rays).all(axis=-1)
    rays = np.where(is_seen[..., None], rays, 0.0)
    weights = is_seen * (np.ones(is_seen.shape) if weights is None else weights)
    poses = np.stack([one.camera_from_world[:3] for one in cameras])
    # (N, K, 2, 4): x times the third row less the first, y times it less the second.
    equations = (rays[..., None] * poses[:, None, 2:] - poses[:, None, :2]) * weights[..., None, None]
    points = np.linalg.svd(equations.transpose(1, 0, 2, 3).reshape(rays.shape[1], -1, 4))[2][:, -1]
    is_determined = (np.abs(points[:, 3]) > LEAST_DETERMINANT) & ((weights > 0).sum(axis=0) >= 2)
    divisor = np.where(is_determined, points[:, 3], 1.0)[:, None]
    return np.where(is_determined[:, None], points[:, :3] / divisor, math.nan)


def reprojection_errors_px(
    cameras: Sequence[CalibratedView], points_px: FloatArray, points_m: FloatArray
) -> FloatArray:
    """Return the distances (N, K) of points (K, 3) of the world from where N cameras see them (N, K, 2).

    nan where a view does not see the point (nan); else inf for points that are nan, or less than a centimetre before
    the camera or behind it.
    """
    errors = []
    for camera, seen in zip(cameras, points_px, strict=True):
        in_camera = camera.in_camera(points_m)
        distances = np.linalg.norm(camera.intrinsics.project(in_camera) - seen, axis=1)
        distances = np.where(in_camera[:, 2] > NEAREST_M, distances, math.inf)
        errors.append(np.where(np.isfinite(seen).all(axis=1), distances, math.nan))
    return np.stack(errors)


# Which views belong together.


@dataclass(frozen=True, eq=False)
class Fit:
    """A hand triangulated from views of it."""

    keypoints_m: FloatArray
    """(21, 3) in the world"""
    errors: FloatArray
    """(N,) median reprojection error of every view, as a fraction of the hand's box there"""
    is_one_side: bool = True
    """Whether all views show a left hand, or all a right one"""

    @property
    def palm_m(self) -> float:
        """From wrist to middle knuckle; nan if either is undetermined."""
        return float(np.linalg.norm(self.keypoints_m[MIDDLE_KNUCKLE] - self.keypoints_m[WRIST]))

    def holds(self, limit: float = MAX_ERROR_FRACTION) -> bool:
        """Return whether all views see one hand of a possible size."""
        return self.agrees(limit) and PALM_LIMITS_M[0] <= self.palm_m <= PALM_LIMITS_M[1]

    def agrees(self, limit: float = MAX_ERROR_FRACTION) -> bool:
        """Return whether all views see one hand, of any size.

        Two views of different sides have to fit twice as well: one of them may be mirrored.
        """
        limit = limit / 2 if len(self.errors) == 2 and not self.is_one_side else limit
        return bool((self.errors <= limit).all())


def fit_views(hands: Sequence[ViewHand]) -> Fit:
    """Return the hand that two or more views determine."""
    cameras, seen = [hand.camera for hand in hands], np.stack([hand.keypoints_px for hand in hands])
    weights = np.stack([np.ones(len(hand.keypoints_px)) if hand.weights is None else hand.weights for hand in hands])
    points = triangulate(cameras, seen, weights)
    is_one_side = len({hand.handedness for hand in hands}) == 1
    return Fit(points, _relative_errors(hands, points), is_one_side)


def error_of(hand: ViewHand, keypoints_m: FloatArray) -> float:
    """Return the median reprojection error of a hand (21, 3) in one view, as a fraction of the hand's box there."""
    return float(_relative_errors([hand], keypoints_m)[0])


def _relative_errors(hands: Sequence[ViewHand], keypoints_m: FloatArray) -> FloatArray:
    seen = np.stack([hand.keypoints_px for hand in hands])
    errors = reprojection_errors_px([hand.camera for hand in hands], seen, keypoints_m)
    return np.array([_median(of[hand.used]) / hand.extent_px for hand, of in zip(hands, errors, strict=True)])


def _median(values: FloatArray) -> float:
    """Return the median; inf of nothing."""
    return float(np.median(values)) if len(values) else math.inf


def check_views(hands: Sequence[ViewHand], limit: float = MAX_ERROR_FRACTION) -> ViewCheck:
    """Find the largest set of views that see one hand, and say why each other one does not fit.

    ``limit`` is the largest median error of a view, as a fraction of the hand's box in it. Where no two views fit, the
    one with the best score stays alone.
    """
    numbers = _largest_set(hands, limit)
    if numbers is None:
        return _alone(hands, limit)
    kept = [hands[number] for number in numbers]
    left = [view_flaw(hand, kept, limit) for number, hand in enumerate(hands) if number not in numbers]
    return ViewCheck(tuple(hand.name for hand in kept), tuple(left), fit_views(kept).keypoints_m)


def _largest_set(hands: Sequence[ViewHand], limit: float) -> tuple[int, ...] | None:
    """Return the largest set of two or more views that fit, of equal ones that with the smallest error."""
    for size in range(len(hands), 1, -1):
        fits = {numbers: fit_views([hands[number] for number in numbers])
                for numbers in itertools.combinations(range(len(hands)), size)}  # fmt: skip
        holding = {numbers: float(fit.errors.mean()) for numbers, fit in fits.items() if fit.holds(limit)}
        if holding:
            return min(holding, key=lambda numbers: holding[numbers])
    return None


def _alone(hands: Sequence[ViewHand], limit: float) -> ViewCheck:
    if not hands:
        return ViewCheck((), ())
    best = max(hands, key=lambda hand: hand.score)
    common = _common_flaw(hands, limit)
    left = []
    for hand in hands:
        if hand is best:
            continue
        kind, reason = common or _flaw_of_pair(hand, best, limit)
        left.append(LeftOutView(hand.name, kind, reason))
    return ViewCheck((best.name,), tuple(left))


def _common_flaw(hands: Sequence[ViewHand], limit: float) -> tuple[FlawKind, str] | None:
    """Return what is wrong with all extrinsics, if views fit when that is put right."""
    if len(hands) < 2:
        return None
    inverted = [_inverted(hand) for hand in hands]
    if _largest_set(inverted, limit) is not None:
        return "inverted", "camera_from_world of all views looks like world_from_camera: invert it"
    fit = fit_views(hands)
    if fit.agrees(limit) and not fit.holds(limit):
        return "scale", (
            f"the palm would be {fit.palm_m:.3g} m long: give the cameras' translations in metres, or calibrate again"
        )
    return None


def _flaw_of_pair(hand: ViewHand, best: ViewHand, limit: float) -> tuple[FlawKind, str]:
    """Return why a view does not fit the only one that stays; which of both is wrong cannot be known."""
    if any(fit_views(pair).holds(limit) for pair in ([_mirrored(hand), best], [hand, _mirrored(best)])):
        return "mirrored", f"it or {best.name} is mirrored: swap left and right of its images"
    distance = _epipolar_fraction(hand, best)
    return "alone", (
        f"its keypoints lie {_in_words(distance)} off the epipolar lines of {best.name}, and no two views fit: check "
        "the cameras' places, or whether both see the same hand at the same time"
    )


def view_flaw(hand: ViewHand, kept: Sequence[ViewHand], limit: float = MAX_ERROR_FRACTION) -> LeftOutView:
    """Return why a view does not fit two or more that fit each other."""
    kind, reason = _flaw_in_words(hand, kept, fit_views(kept), limit)
    return LeftOutView(hand.name, kind, reason)


def _flaw_in_words(hand: ViewHand, kept: Sequence[ViewHand], fit: Fit, limit: float) -> tuple[FlawKind, str]:
    if error_of(_mirrored(hand), fit.keypoints_m) <= limit:
        return "mirrored", "its images are mirrored: swap their left and right"
    if error_of(_inverted(hand), fit.keypoints_m) <= limit:
        return "inverted", "its camera_from_world looks like world_from_camera: invert it"
    off = (
        f"its keypoints lie {_in_words(max(_epipolar_fraction(hand, other) for other in kept))} off the epipolar lines"
    )
    depths_m = hand.camera.in_camera(fit.keypoints_m)[:, 2]
    if _median(depths_m[np.isfinite(depths_m)]) <= NEAREST_M:
        return "behind", "the hand of the other views would be behind it: calibrate its camera again"
    if hand.handedness not in {other.handedness for other in kept}:
        return "other hand", f"{off}: it shows another hand, a {hand.handedness} one"
    if _seen_from_anywhere(hand, fit.keypoints_m) <= limit / 2:
        return "extrinsics", f"{off}, though it shows the same pose: its camera has been moved, calibrate it again"
    return "other hand", f"{off}: it shows another hand or another time, or too little of the hand"


def _epipolar_fraction(hand: ViewHand, other: ViewHand) -> float:
    """Return the median symmetric epipolar distance as a fraction of the larger box of both."""
    distances = symmetric_epipolar_distance_px(hand, other)[hand.used & other.used]
    return _median(distances) / max(hand.extent_px, other.extent_px)


def _in_words(fraction: float) -> str:
    return f"{100 * fraction:.0f} % of the hand's size" if fraction < 10 else "far"


def _mirrored(hand: ViewHand) -> ViewHand:
    """Return the hand as it is if the images are mirrored about the vertical through the principal point."""
    mirrored_px = hand.keypoints_px.copy()
    mirrored_px[:, 0] = 2 * hand.camera.intrinsics.centre_x_px - mirrored_px[:, 0]
    return replace(hand, keypoints_px=mirrored_px, handedness="left" if hand.handedness == "right" else "right")


def _inverted(hand: ViewHand) -> ViewHand:
    camera = replace(hand.camera, camera_from_world=rigid_inverse(hand.camera.camera_from_world))
    return replace(hand, camera=camera)


def _seen_from_anywhere(hand: ViewHand, keypoints_m: FloatArray) -> float:
    """Return the smallest ``error_of`` of any place of the camera; inf if none is found."""
    known = hand.used & np.isfinite(keypoints_m).all(axis=1)
    if known.sum() < LEAST_POINTS:
        return math.inf
    centre_m = keypoints_m[known].mean(axis=0)
    try:
        found, rotation, position = cv2.solvePnP(
            keypoints_m[known] - centre_m,
            hand.keypoints_px[known],
            hand.camera.intrinsics.matrix,
            None,
            flags=cv2.SOLVEPNP_SQPNP,
        )
    except cv2.error:
        return math.inf
    if not found:
        return math.inf
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(rotation)[0]
    pose[:3, 3] = np.ravel(position) - pose[:3, :3] @ centre_m
    moved = replace(hand, camera=replace(hand.camera, camera_from_world=pose))
    return error_of(moved, keypoints_m)


def match_hands(views: Sequence[Sequence[ViewHand]], limit: float = MAX_ERROR_FRACTION) -> list[dict[int, int]]:
    """Return the hands that several views see, those of most views first: for each, view's number and its hand's.

    ``views`` has the hands found in each view. From the two hands of two views that fit best a group grows by the hand
    of each other view that fits; the largest group is taken, then the largest of what is left. Hands that only one
    view sees are not returned.
    """
    seeds = [(first, second) for _, first, second in sorted(_fitting_pairs(views, limit))]
    used: set[tuple[int, int]] = set()
    matched: list[dict[int, int]] = []
    while group := _largest_group(views, [seed for seed in seeds if not used.intersection(seed)], used, limit):
        used.update(group.items())
        matched.append(group)
    return matched


def _largest_group(
    views: Sequence[Sequence[ViewHand]],
    seeds: Sequence[tuple[tuple[int, int], tuple[int, int]]],
    used: set[tuple[int, int]],
    limit: float,
) -> dict[int, int]:
    """Return the largest group that grows from a seed, the first one of equals; empty without seeds."""
    largest: dict[int, int] = {}
    for seed in seeds:
        group = _grown(views, dict(seed), used, limit)
        largest = group if len(group) > len(largest) else largest
        if len(largest) == len(views):
            break
    return largest


def _fitting_pairs(
    views: Sequence[Sequence[ViewHand]], limit: float
) -> Iterator[tuple[float, tuple[int, int], tuple[int, int]]]:
    """Yield error, and (view, hand) twice, of all hands of two views that may be one."""
    for one, other in itertools.combinations(range(len(views)), 2):
        for (first, hand), (second, candidate) in itertools.product(enumerate(views[one]), enumerate(views[other])):
            fit = fit_views([hand, candidate])
            if fit.holds(limit):
                yield float(fit.errors.mean()), (one, first), (other, second)


def _grown(
    views: Sequence[Sequence[ViewHand]], group: dict[int, int], used: set[tuple[int, int]], limit: float
) -> dict[int, int]:
    """Add to the hands of two views the hand of each other view that fits all of them, the best one first."""
    while True:
        members = [views[view][hand] for view, hand in group.items()]
        candidates = [
            (float(fit.errors.mean()), view, number)
            for view, hands in enumerate(views)
            if view not in group
            for number, hand in enumerate(hands)
            if (view, number) not in used and (fit := fit_views([*members, hand])).holds(limit)
        ]
        if not candidates:
            return dict(sorted(group.items()))
        _, view, number = min(candidates)
        group[view] = number
