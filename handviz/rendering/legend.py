"""Legends as small images, and their position in a view."""

import math
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import moderngl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from handviz.core.records import FloatArray
from handviz.rendering.camera import Size
from handviz.rendering.colormap import ColourMap, attention_colours, distance_colours, uncertainty_colours
from handviz.rendering.ellipses import fraction_inside
from handviz.rendering.options import DrawOptions, SampleMode, marked, stripe_cover
from handviz.rendering.passes import ImagePass
from handviz.rendering.samples import GHOST_COUNT

WIDTH_PX, HEIGHT_PX = 108, 206
TWO_TITLES_PX = (36, 18)
BAR_LEFT_PX, BAR_RIGHT_PX, BAR_TOP_PX, BAR_BOTTOM_PX = 12, 28, 38, 190
SEEN_WIDTH_PX, SEEN_HEIGHT_PX = 184, 34
SEEN_LEFT_PX, INFERRED_LEFT_PX = 12, 90
PATCH_SIZE_PX, PATCH_GAP_PX = (28, 16), 7
# From a light skin to a dark one.
PATCH_COLOURS = (0.91, 0.75, 0.65), (0.42, 0.27, 0.19)
TITLE, ATTENTION_TITLES, TITLE_CENTRE_PX = "Std. dev., mm", ("Attention,", "multiple of uniform"), 18
NOTE_LETTERS = 28
SAMPLE_NOTES: dict[SampleMode, str] = {
    "none": "",
    "ghosts": f"Ghosts: {GHOST_COUNT} hands drawn from the posterior",
    "animation": "Animation: hands drawn from the posterior",
}
NOTE_WIDTH_PX, NOTE_LINE_PX, NOTE_MARGIN_PX = 176, 18, 8
PANEL_COLOUR = (14, 17, 22, 190)
TEXT_COLOUR = (238, 240, 243)
TICK_COLOUR = (170, 178, 188)
TEXT_SIZE_PX, TICK_LENGTH_PX, MAX_TICKS = 13, 4, 6
END_ROOM = 0.1
"""Fraction of a bar that the number at its end takes."""
NICE_STEPS_MM = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
DISTANCE_TITLE = "Distance, mm"
TWO_TITLES_LEGEND_PX = WIDTH_PX + TWO_TITLES_PX[0], HEIGHT_PX + TWO_TITLES_PX[1]
GAP_PX = 6
Rectangle = tuple[int, int, int, int]
"""left, top, right, bottom in pixels"""
Corner = tuple[bool, bool]
"""right rather than left, bottom rather than top"""
CORNERS: tuple[Corner, ...] = ((True, True), (True, False), (False, True), (False, False))
MIN_BESIDE_RATIO = 0.7
LABEL_WEIGHT = 40
"""Points per side: a label's weight against vertices of a hand."""
MARGIN_PX = 14
MIN_RATIO, SHRINKING = 0.5, 0.85
DRAWS_BEFORE_GROWING = 60
STAY_S = 5.0
"""How long a legend stays in a corner into which a hand moves."""
JUMP = 0.15
"""Distance between the hands of two draws, as a fraction of the view, above which they belong to different images."""
MEMORY = 0.97
"""Fraction of what hands covered in former draws that counts in the next one."""


def ticks_mm(range_mm: tuple[float, float]) -> list[float]:
    """Return at most six round values within the range."""
    low, high = range_mm
    wanted = (high - low) / (MAX_TICKS - 1)
    step = next((step for step in NICE_STEPS_MM if step >= wanted - 1e-9), NICE_STEPS_MM[-1])
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def labelled_mm(ends: tuple[float, float]) -> list[float]:
    """Return both ends of a bar, and the round values between that leave room for the ends' numbers."""
    low, high = ends
    room = END_ROOM * (high - low)
    return [low, *(tick for tick in ticks_mm(ends) if low + room <= tick <= high - room), high]


class _Sheet:
    """Translucent panel to draw on, in nominal pixels times ``pixel_ratio``."""

    def __init__(self, width_px: int, height_px: int, pixel_ratio: float) -> None:
        self._pixel_ratio = pixel_ratio
        self._colour = Image.new("RGB", (self.scaled(width_px), self.scaled(height_px)), PANEL_COLOUR[:3])
        self._opacity = Image.new("L", self._colour.size, PANEL_COLOUR[3])
        # Text goes into both, so that antialiased edges blend with the panel.
        self._colour_ink, self._opacity_ink = ImageDraw.Draw(self._colour), ImageDraw.Draw(self._opacity)
        self._font = ImageFont.load_default(self.scaled(TEXT_SIZE_PX))

    def scaled(self, length_px: float) -> int:
        """Scale a length to pixels of this sheet."""
        return max(1, round(length_px * self._pixel_ratio))

    def write(self, left: int, centre: int, text: str) -> None:
        """Write text; here and below in pixels of this sheet."""
        self._colour_ink.text((left, centre), text, TEXT_COLOUR, self._font, anchor="lm")
        self._opacity_ink.text((left, centre), text, 255, self._font, anchor="lm")

    def tick(self, left: int, right: int, row: int) -> None:
        """Draw a horizontal line."""
        self._colour_ink.line((left, row, right, row), TICK_COLOUR)
        self._opacity_ink.line((left, row, right, row), 255)

    def paste(self, left: int, top: int, colours: FloatArray) -> None:
        """Paste sRGB (H, W, 3) in [0, 1]."""
        self._colour.paste(Image.fromarray(np.rint(colours * 255).astype(np.uint8)), (left, top))
        self._opacity.paste(255, (left, top, left + colours.shape[1], top + colours.shape[0]))

    def image(self) -> NDArray[np.uint8]:
        """Return (H, W, 4) sRGB with premultiplied opacity."""
        alpha = np.asarray(self._opacity)[:, :, None]
        colours = np.asarray(self._colour).astype(np.uint16) * alpha // 255
        image = np.concatenate([colours.astype(np.uint8), alpha], axis=2)
        image.flags.writeable = False
        return image


@lru_cache(maxsize=8)
def legend_image(
    range_mm: tuple[float, float], pixel_ratio: float = 1.0, colour_map: ColourMap = "viridis"
) -> NDArray[np.uint8]:
    """Return (H, W, 4) sRGB with premultiplied opacity, ``pixel_ratio`` times the nominal 108 x 206 pixels."""
    return bar_legend((TITLE,), range_mm, uncertainty_colours(colour_map), pixel_ratio)


@lru_cache(maxsize=8)
def attention_legend_image(upper: float, pixel_ratio: float = 1.0) -> NDArray[np.uint8]:
    """Return an image as ``legend_image``, for attention as a multiple of uniform."""
    return bar_legend(ATTENTION_TITLES, (0.0, upper), attention_colours(), pixel_ratio)


def bar_legend(
    titles: tuple[str, ...], ends: tuple[float, float], colours: FloatArray, pixel_ratio: float
) -> NDArray[np.uint8]:
    """Return an image as ``legend_image`` for colours (256, 3); a second title makes it larger."""
    size_px = bar_size_px(titles)
    sheet, more_px = _Sheet(*size_px, pixel_ratio), size_px[1] - HEIGHT_PX
    left, right = sheet.scaled(BAR_LEFT_PX), sheet.scaled(BAR_RIGHT_PX)
    top, bottom = sheet.scaled(BAR_TOP_PX + more_px), sheet.scaled(BAR_BOTTOM_PX + more_px)
    sheet.paste(left, top, _bar(colours, right - left, bottom - top))
    tick_px, (low, high) = sheet.scaled(TICK_LENGTH_PX), ends
    for number, title in enumerate(titles):
        sheet.write(left, sheet.scaled(TITLE_CENTRE_PX + number * TWO_TITLES_PX[1]), title)
    for tick in labelled_mm(ends):
        fraction = (tick - low) / max(high - low, 1e-9)
        row = round(bottom - 1 - fraction * (bottom - 1 - top))
        sheet.tick(right, right + tick_px - 1, row)
        sheet.write(right + 2 * tick_px, row, f"{tick:.4g}")
    return sheet.image()


@lru_cache(maxsize=8)
def seen_legend_image(pixel_ratio: float = 1.0) -> NDArray[np.uint8]:
    """Return an image as ``legend_image``, with patches of seen and of inferred skin."""
    sheet = _Sheet(SEEN_WIDTH_PX, SEEN_HEIGHT_PX, pixel_ratio)
    width, height = sheet.scaled(PATCH_SIZE_PX[0]), sheet.scaled(PATCH_SIZE_PX[1])
    seen = np.broadcast_to(np.linspace(*PATCH_COLOURS, width), (height, width, 3))
    rows, columns = np.mgrid[:height, :width] + 0.5
    inferred = marked(seen, stripe_cover(columns, -rows, pixel_ratio))
    centre = sheet.scaled(SEEN_HEIGHT_PX / 2)
    for left_px, patch, text in ((SEEN_LEFT_PX, seen, "seen"), (INFERRED_LEFT_PX, inferred, "inferred")):
        sheet.paste(sheet.scaled(left_px), centre - height // 2, patch)
        sheet.write(sheet.scaled(left_px + PATCH_SIZE_PX[0] + PATCH_GAP_PX), centre, text)
    return sheet.image()


@lru_cache(maxsize=8)
def note_image(lines: tuple[str, ...], pixel_ratio: float = 1.0) -> NDArray[np.uint8]:
    """Return an image as ``legend_image``, with lines of text."""
    sheet = _Sheet(note_width_px(lines), note_height_px(lines), pixel_ratio)
    for number, line in enumerate(lines):
        sheet.write(sheet.scaled(BAR_LEFT_PX), sheet.scaled(NOTE_MARGIN_PX + (number + 0.5) * NOTE_LINE_PX), line)
    return sheet.image()


def text_width_px(text: str) -> int:
    """Return the nominal width of a line of text."""
    return math.ceil(ImageFont.load_default(TEXT_SIZE_PX).getlength(text))


@lru_cache(maxsize=32)
def note_width_px(lines: tuple[str, ...]) -> int:
    """Return the nominal width of a ``note_image``."""
    return max(NOTE_WIDTH_PX, *(text_width_px(line) + 2 * BAR_LEFT_PX for line in lines))


@lru_cache(maxsize=32)
def bar_size_px(titles: tuple[str, ...]) -> Size:
    """Return the nominal (width, height) of a ``bar_legend``, which is as wide as its second title needs."""
    if len(titles) == 1:
        return WIDTH_PX, HEIGHT_PX
    width, height = TWO_TITLES_LEGEND_PX
    return max(width, text_width_px(titles[1]) + 2 * BAR_LEFT_PX), height


def note_height_px(lines: tuple[str, ...]) -> int:
    """Return the nominal height of a ``note_image``."""
    return 2 * NOTE_MARGIN_PX + len(lines) * NOTE_LINE_PX


def _bar(colours: FloatArray, width: int, height: int) -> FloatArray:
    """Return (height, width, 3): the colour map, its largest value on top."""
    rows = colours[np.linspace(255, 0, height).round().astype(np.intp)]
    return np.repeat(rows[:, None], width, axis=1)


@lru_cache(maxsize=8)
def distance_legend_image(name: str, range_mm: tuple[float, float], pixel_ratio: float = 1.0) -> NDArray[np.uint8]:
    """Return an image as ``legend_image``, with the two models of ``difference.name_of`` as second title."""
    return bar_legend((DISTANCE_TITLE, name), range_mm, distance_colours(), pixel_ratio)


@dataclass(frozen=True)
class LegendPart:
    """One legend of the stack; ``ends`` are for colours, ``lines`` for notes and the name of a distance."""

    kind: Literal["uncertainty", "attention", "distance", "seen", "notes"]
    ends: tuple[float, float] = (0.0, 1.0)
    lines: tuple[str, ...] = ()
    colour_map: ColourMap = "viridis"
    """Of the uncertainty."""

    @property
    def size(self) -> Size:
        """Nominal (width, height)."""
        if self.kind == "notes":
            return note_width_px(self.lines), note_height_px(self.lines)
        if self.kind == "distance":
            return bar_size_px((DISTANCE_TITLE, *self.lines))
        if self.kind == "attention":
            return bar_size_px(ATTENTION_TITLES)
        return (SEEN_WIDTH_PX, SEEN_HEIGHT_PX) if self.kind == "seen" else (WIDTH_PX, HEIGHT_PX)

    @property
    def has_bar(self) -> bool:
        """Whether it is a colour scale."""
        return self.kind in ("uncertainty", "attention", "distance")

    @property
    def titles(self) -> tuple[str, ...]:
        """Lines above a colour scale."""
        titles = {"uncertainty": (TITLE,), "attention": ATTENTION_TITLES, "distance": (DISTANCE_TITLE, *self.lines)}
        return titles.get(self.kind, ())

    @property
    def colours(self) -> FloatArray:
        """(256, 3) sRGB of a colour scale, from its lower end to its upper one."""
        if self.kind == "uncertainty":
            return uncertainty_colours(self.colour_map)
        return attention_colours() if self.kind == "attention" else distance_colours()

    def image(self, pixel_ratio: float) -> NDArray[np.uint8]:
        """Return (H, W, 4) sRGB with premultiplied opacity."""
        match self.kind:
            case "uncertainty":
                return legend_image(self.ends, pixel_ratio, self.colour_map)
            case "attention":
                return attention_legend_image(self.ends[1], pixel_ratio)
            case "distance":
                return distance_legend_image(self.lines[0], self.ends, pixel_ratio)
            case "seen":
                return seen_legend_image(pixel_ratio)
            case "notes":
                return note_image(self.lines, pixel_ratio)


def note_lines(text: str) -> tuple[str, ...]:
    """Return the lines of a note, which begins with a capital letter."""
    return tuple(textwrap.wrap(text[:1].upper() + text[1:], NOTE_LETTERS))


def disc_lines(joints: FloatArray | None) -> tuple[str, ...]:
    """Return lines about the discs at joints, whose areas are fractions of the attention (21,); none without them."""
    if joints is None:
        return ()
    return "Area of discs: attention", f"to the joints, most {joints.max():.0%}"


def notes_for(options: DrawOptions, *, fades: bool, ellipses: bool, samples: bool) -> tuple[str, ...]:
    """Return lines about faded or hidden parts, ellipses, and hands drawn from the posterior, where there are any."""
    lines: tuple[str, ...] = ()
    if fades and options.uncertain != "show":
        verb = "Faded" if options.uncertain == "fade" else "Hidden"
        lines += (f"{verb}: sigma > {options.uncertain_above_mm:g} mm",)
    if ellipses:
        sigmas = options.ellipse_sigmas
        lines += (f"Ellipses: {sigmas:g} sigma, {fraction_inside(sigmas):.0%}",)
    if samples:
        lines += note_lines(SAMPLE_NOTES[options.samples])
    return lines


def joined(parts: Iterable[LegendPart]) -> tuple[LegendPart, ...]:
    """Return each legend once, and the lines of all notes in one."""
    unique = tuple(dict.fromkeys(parts))
    lines = tuple(dict.fromkeys(line for part in unique if part.kind == "notes" for line in part.lines))
    others = tuple(part for part in unique if part.kind != "notes")
    return (*others, LegendPart("notes", lines=lines)) if lines else others


def stacked_size(parts: tuple[LegendPart, ...]) -> Size:
    """Return the nominal (width, height) of legends below each other."""
    sizes = [part.size for part in parts]
    return max(width for width, _ in sizes), sum(height for _, height in sizes) + GAP_PX * (len(parts) - 1)


@lru_cache(maxsize=8)
def stacked_image(parts: tuple[LegendPart, ...], pixel_ratio: float) -> NDArray[np.uint8]:
    """Return (H, W, 4) sRGB with premultiplied opacity; the same object while nothing changes."""
    images = [part.image(pixel_ratio) for part in parts]
    width, gap_px = max(image.shape[1] for image in images), max(1, round(GAP_PX * pixel_ratio))
    rows: list[NDArray[np.uint8]] = []
    for image in images:
        rows += [np.pad(image, ((0, 0), (0, width - image.shape[1]), (0, 0)))]
        rows += [np.zeros((gap_px, width, 4), np.uint8)]
    return np.concatenate(rows[:-1])


@dataclass(frozen=True)
class LegendRoom:
    """Space for a legend."""

    box: tuple[float, float, float, float]
    """left, top, right, bottom, in one of whose corners it lies"""
    view_size: tuple[int, int]
    pixel_ratio: float
    beside: tuple[float, float] | None = None
    """Width and height that images leave free: used if the legend need not shrink much for it."""
    may_shrink: bool = False
    """Whether it shrinks rather than cover a hand."""

    def inner(self, margin: float) -> tuple[float, float, float, float]:
        """Return the box without a margin."""
        left, top, right, bottom = self.box
        return left + margin, top + margin, right - margin, bottom - margin

    def legend_ratio(self, size: tuple[int, int], margin: float) -> float:
        """Return a legend's largest scale here, relative to its nominal size (width, height)."""
        (width, height), (view_width, view_height) = size, self.view_size
        ratio = min(self.pixel_ratio, 0.4 * view_width / width, 0.6 * view_height / height)
        if self.beside is None:
            return ratio
        beside = max(self.beside[0] / (width + 2 * margin), self.beside[1] / (height + 2 * margin))
        return min(ratio, beside) if beside >= MIN_BESIDE_RATIO * self.pixel_ratio else ratio


def points_in(rectangle: Rectangle) -> FloatArray:
    """Return a grid of points (N, 2) over a rectangle, edges included."""
    left, top, right, bottom = rectangle
    across, down = np.linspace(left, right, LABEL_WEIGHT), np.linspace(top, bottom, LABEL_WEIGHT)
    return np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)


def corner_rectangle(corner: Corner, box: tuple[float, float, float, float], size: tuple[int, int]) -> Rectangle:
    """Return a rectangle of ``size`` (width, height) in a corner of ``box`` (left, top, right, bottom)."""
    left = box[2] - size[0] if corner[0] else box[0]
    top = box[3] - size[1] if corner[1] else box[1]
    return round(left), round(top), round(left) + size[0], round(top) + size[1]


def free_corner(
    points_px: FloatArray,
    box: tuple[float, float, float, float],
    size: tuple[int, int],
    current: Corner,
    before: Mapping[Corner, float] | None = None,
) -> Corner:
    """Return the current corner if the legend covers none of the points (N, 2) there, otherwise the emptiest one.

    Of corners as empty as each other it is the one that was so ``before``.
    """
    covered = {corner: covered_points(points_px, corner_rectangle(corner, box, size)) for corner in (current, *CORNERS)}
    if not covered[current]:
        return current
    return min(covered, key=lambda corner: (covered[corner], (before or {}).get(corner, 0.0)))


def covered_points(points_px: FloatArray, rectangle: Rectangle) -> int:
    """Count the points (N, 2) in a rectangle."""
    left, top, right, bottom = rectangle
    x, y = points_px[:, 0], points_px[:, 1]
    return int(np.count_nonzero((x >= left) & (x <= right) & (y >= top) & (y <= bottom)))


class LegendPass:
    """Drawing of legends in a corner where they cover no hand; changes the corner only if it must, and not often."""

    def __init__(self, ctx: moderngl.Context, clock: Callable[[], float] = time.monotonic) -> None:
        self._image = ImagePass(ctx, components=4)
        self._corner: Corner = CORNERS[0]
        self._clock, self._moved_s, self._may_move = clock, -math.inf, True
        self._centre: FloatArray | None = None
        self._covered_before = dict.fromkeys(CORNERS, 0.0)
        self._fitted_for: tuple[object, ...] | None = None
        self._steps = self._free_draws = 0

    def draw(self, parts: Sequence[LegendPart], room: LegendRoom, points_px: FloatArray) -> Rectangle | None:
        """Draw into the bound framebuffer, away from points (N, 2), and return where; smaller in small views.

        In tiny views nothing is drawn, and None returned.
        """
        if not parts:
            return None
        ratio = room.legend_ratio(stacked_size(tuple(parts)), MARGIN_PX)
        if ratio < MIN_RATIO:
            return None
        size_px = stacked_size(tuple(parts))
        self._look_at(points_px, room, _scaled(size_px, ratio))
        ratio, corner = self._fit(size_px, room, ratio, points_px)
        if corner != self._corner:
            self._corner, self._moved_s = corner, self._clock()
        image = stacked_image(tuple(parts), round(ratio, 2))
        self._image.set_image(image)
        height, width = image.shape[:2]
        rectangle = corner_rectangle(self._corner, room.inner(MARGIN_PX * ratio), (width, height))
        self._image.draw(room.view_size, rectangle)
        return rectangle

    def _look_at(self, points_px: FloatArray, room: LegendRoom, size: tuple[int, int]) -> None:
        """Decide whether the legend may move: not soon after it has, unless the hands are those of another image."""
        for corner in CORNERS:
            covered = covered_points(points_px, corner_rectangle(corner, room.inner(MARGIN_PX), size))
            self._covered_before[corner] = MEMORY * self._covered_before[corner] + covered
        centre = points_px.mean(axis=0) if len(points_px) else None
        before = self._centre
        moved_px = math.dist(centre, before) if centre is not None and before is not None else math.inf
        self._centre = centre
        self._may_move = moved_px > JUMP * math.hypot(*room.view_size) or self._clock() - self._moved_s >= STAY_S

    def _fit(
        self, size_px: tuple[int, int], room: LegendRoom, largest: float, points_px: FloatArray
    ) -> tuple[float, Corner]:
        """Return scale and corner: it may shrink rather than cover a point, and grows again after a while."""
        if not room.may_shrink:
            return largest, self._corner_at(largest, size_px, room, points_px)[0]
        wanted = (size_px, room, largest)
        if wanted != self._fitted_for:
            self._fitted_for, self._steps, self._free_draws = wanted, 0, 0
        while True:
            ratio = max(largest * SHRINKING**self._steps, MIN_RATIO)
            corner, is_free = self._corner_at(ratio, size_px, room, points_px)
            if is_free or ratio <= MIN_RATIO:
                break
            self._steps += 1
            self._free_draws = 0
        if self._steps:
            could_grow = self._corner_at(ratio / SHRINKING, size_px, room, points_px)[1]
            self._free_draws = self._free_draws + 1 if could_grow else 0
            if self._free_draws > DRAWS_BEFORE_GROWING:
                self._steps, self._free_draws = self._steps - 1, 0
        return ratio, corner

    def _corner_at(
        self, ratio: float, size_px: tuple[int, int], room: LegendRoom, points_px: FloatArray
    ) -> tuple[Corner, bool]:
        """Return the corner for this scale, and whether it covers no point there."""
        inner, size = room.inner(MARGIN_PX * ratio), _scaled(size_px, ratio)
        corner = self._corner
        if self._may_move:
            corner = free_corner(points_px, inner, size, self._corner, self._covered_before)
        return corner, not covered_points(points_px, corner_rectangle(corner, inner, size))

    def release(self) -> None:
        """Free all GPU resources."""
        self._image.release()


def _scaled(size_px: tuple[int, int], ratio: float) -> tuple[int, int]:
    return round(size_px[0] * ratio), round(size_px[1] * ratio)
