"""Labels of panes: the model, its distances, or why there are none."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from handviz.core.records import FrameResult
from handviz.rendering.difference import Distances, have_different_meshes, name_of
from handviz.rendering.hand_notes import mesh_note, uncertainty_note
from handviz.rendering.hand_shape import ModelDisplay
from handviz.rendering.legend import PANEL_COLOUR, TEXT_COLOUR, TEXT_SIZE_PX
from handviz.rendering.legend import Rectangle as WholeRectangle
from handviz.rendering.options import DrawOptions
from handviz.rendering.panes import Pane
from handviz.rendering.passes import Rectangle

LINE_HEIGHT_PX, MARGIN_X_PX, MARGIN_Y_PX = 18, 9, 5
FAINT_COLOUR = (178, 186, 196)
INVERSE_GROUND, INVERSE_INK = (255, 214, 92, 240), (14, 17, 22)
MARGIN_PX, MIN_BESIDE_PX = 8, 110


@lru_cache(maxsize=128)
def label_image(
    lines: tuple[str, ...], pixel_ratio: float, max_width: int, *, is_inverse: bool = False
) -> NDArray[np.uint8]:
    """Return (H, W, 4) sRGB with premultiplied opacity: the first line bright, the others faint.

    Lines wider than ``max_width`` pixels are wrapped, within words if necessary. ``is_inverse``: dark on bright.
    """
    ground, ink = (INVERSE_GROUND, INVERSE_INK) if is_inverse else (PANEL_COLOUR, TEXT_COLOUR)
    font = ImageFont.load_default(max(1, round(TEXT_SIZE_PX * pixel_ratio)))
    margin_x, margin_y = round(MARGIN_X_PX * pixel_ratio), round(MARGIN_Y_PX * pixel_ratio)
    line_height, room = round(LINE_HEIGHT_PX * pixel_ratio), max(1, max_width - 2 * margin_x)
    rows = [(row, line == lines[0]) for line in lines for row in _wrapped(line, font, room)]
    width = min(max_width, round(max(font.getlength(row) for row, _ in rows)) + 2 * margin_x)
    size = max(1, width), len(rows) * line_height + 2 * margin_y
    colour, opacity = Image.new("RGB", size, ground[:3]), Image.new("L", size, ground[3])
    # Text goes into both, so that antialiased edges blend with the panel.
    colour_ink, opacity_ink = ImageDraw.Draw(colour), ImageDraw.Draw(opacity)
    for number, (row, is_first) in enumerate(rows):
        position = margin_x, margin_y + (number + 0.5) * line_height
        colour_ink.text(position, row, ink if is_first else FAINT_COLOUR, font, anchor="lm")
        opacity_ink.text(position, row, 255, font, anchor="lm")
    alpha = np.asarray(opacity)[:, :, None]
    image = np.concatenate([np.asarray(colour).astype(np.uint16) * alpha // 255, alpha], axis=2).astype(np.uint8)
    image.flags.writeable = False
    return image


def _wrapped(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: int) -> list[str]:
    rows, row = [], ""
    for word in line.split(" "):
        longer = f"{row} {word}".strip()
        if row and font.getlength(longer) > room:
            rows.append(row)
            longer = word
        # A path may be one long word.
        while len(longer) > 1 and font.getlength(longer) > room:
            cut = next((n for n in range(len(longer) - 1, 1, -1) if font.getlength(longer[:n]) <= room), 1)
            rows.append(longer[:cut])
            longer = longer[cut:]
        row = longer
    return [*rows, row]


def pane_lines(
    result: FrameResult, pane: Pane, options: DrawOptions, distances: Distances | None, display: ModelDisplay
) -> tuple[str, ...]:
    """Return lines with the model's name, its state or distances, and what is not drawn of its hands."""
    name, difference = display.label(pane.model), options.shown_difference
    if pane.model == result.model and result.is_compared:
        name += " (active)"
    if pane.model == result.model and result.failure:
        return name, result.failure
    if pane.model in result.other_errors:
        return name, result.other_errors[pane.model]
    if pane.model != result.model and result.hands and pane.model not in result.others:
        return name, "computing"
    hands = result.of_model(pane.model).hands
    said = mesh_note(hands, display.surfaces), uncertainty_note(hands, options, display.label(pane.model))
    notes = tuple(note for note in said if note)
    if difference is None or not result.hands:
        return name, *notes
    if pane.model not in difference.pair:
        return name, "not compared", *notes
    if distances is not None:
        return name, *_numbers(result, distances), *notes
    if have_different_meshes(result, difference):
        return name, "no distance: different meshes", *notes
    reasons = tuple(result.other_errors[model] for model in difference.pair if model in result.other_errors)
    return name, f"no distance {name_of(difference, display)}", *reasons, *notes


def pane_label(
    lines: tuple[str, ...], pane: Pane, image: Rectangle | None, pixel_ratio: float
) -> tuple[NDArray[np.uint8], WholeRectangle]:
    """Return (H, W, 4) sRGB with premultiplied opacity, the same object while nothing changes, and its rectangle.

    Beside the image or above it if there is room, otherwise in its upper left corner; in the pane's without an image.
    """
    margin = round(MARGIN_PX * pixel_ratio)
    beside = round(image[0]) - 2 * margin if image is not None else 0
    is_beside = beside >= MIN_BESIDE_PX * pixel_ratio
    label = label_image(lines, pixel_ratio, max(beside if is_beside else pane.width_px - 2 * margin, 1))
    height, width = label.shape[:2]
    left = top = margin
    if image is not None and not is_beside:
        has_room_above = image[1] >= height + margin
        left = round(image[0]) + margin
        top = round(image[1]) + (-height - margin // 2 if has_room_above else margin)
    left = max(0, min(left, pane.width_px - width))
    return label, (left, top, left + width, top + height)


def _numbers(result: FrameResult, distances: Distances) -> list[str]:
    several = len(result.hands) > 1
    sides = [f"{hand.handedness}: " if several else "" for hand in result.hands]
    return [
        f"{side}mean {mean:.1f}, max {largest:.1f} mm"
        for side, mean, largest in zip(sides, distances.mean_mm, distances.max_mm, strict=True)
    ]
