"""Writes an inspection as one HTML file: images inside, a sortable table, no external resources."""

import base64
import html
import itertools
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.camera_model import camera_model_in_words
from handviz.core.errors import HandvizError
from handviz.core.files import open_atomic
from handviz.core.records import Frame, FrameResult, HandMesh
from handviz.hand_models.choice import hand_model_for
from handviz.inspection.columns import COLUMNS, NO_UNCERTAINTY, Column, ImageRow, InspectionRequest, TableRow, rows_of
from handviz.pipeline.display import model_display
from handviz.rendering.colormap import colours_from_std
from handviz.rendering.offscreen import OffscreenRenderer
from handviz.rendering.options import DrawOptions
from handviz.sources.images import read_image, rgb_from_bgr

MAX_IMAGES = 500
"""Images in the report of a larger folder, the first in its order; the others are rows without one: some 15 MB."""
IMAGE_SIDE_PX = 360
JPEG_QUALITY = 80
GRADIENT_STOPS = 9
TEMPLATE_FILE = Path(__file__).with_name("report.html")
NO_IMAGES = "Images are without meshes: {error}."
HandsOf = Callable[[ImageRow], Sequence[HandMesh]]


@dataclass(frozen=True)
class ReportSettings:
    """Title and drawing options of the report."""

    inspection: InspectionRequest
    colour: Literal["uncertainty", "plain"]
    range_mm: tuple[float, float]


def write_html(path: Path, images: Sequence[ImageRow], settings: ReportSettings, hands_of: HandsOf) -> None:
    """Write the report piece by piece; HandvizError if that fails."""
    before, after = TEMPLATE_FILE.read_text(encoding="utf-8").split("<!-- rows -->")
    with ExitStack() as resources:
        painter, note = _painter(resources, settings)
        file = resources.enter_context(open_atomic(path))
        file.write(_bytes(_filled(before, images, settings, note)))
        for number, image in enumerate(images):
            hands = hands_of(image)
            shown = painter(image, hands) if number < MAX_IMAGES else []
            for row, jpeg in itertools.zip_longest(rows_of(image), shown):
                file.write(_bytes(_line(row, jpeg)))
        file.write(_bytes(after))


def _painter(
    resources: ExitStack, settings: ReportSettings
) -> tuple[Callable[[ImageRow, Sequence[HandMesh]], list[bytes]], str]:
    """Return a function that draws one JPEG per row of an image, none if it cannot be read; and a message."""
    options = DrawOptions(colour=settings.colour, legend=False).with_range(settings.range_mm)
    renderer, note = None, ""
    try:
        renderer = resources.enter_context(
            OffscreenRenderer(model_display(hand_model_for(None, settings.inspection.model_dir)))
        )
    except HandvizError as error:
        note = NO_IMAGES.format(error=error)

    def paint(image: ImageRow, hands: Sequence[HandMesh]) -> list[bytes]:
        try:
            frame = Frame(0, read_image(settings.inspection.folder / image.file), 0.0, image.file)
        except HandvizError:
            return []
        if renderer is None or not hands:
            return [_jpeg(frame.image)] * max(len(hands), 1)
        # Each row's image shows its own hand alone.
        results = (FrameResult(frame, settings.inspection.model, hands=(hand,)) for hand in hands)
        return [_jpeg(renderer.draw(result, options)) for result in results]

    return paint, note


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    """Encode an image as JPEG, with no side above ``IMAGE_SIDE_PX``."""
    height, width = image.shape[:2]
    fraction = min(1.0, IMAGE_SIDE_PX / max(width, height))
    size = max(1, round(width * fraction)), max(1, round(height * fraction))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if fraction < 1 else image
    # OpenCV's order of channels is the reverse of ours.
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    encoded: bytes = cv2.imencode(".jpg", rgb_from_bgr(small), quality)[1].tobytes()
    return encoded


def _filled(before: str, images: Sequence[ImageRow], settings: ReportSettings, note: str) -> str:
    hands = [hand for image in images for hand in image.hands]
    inspection, (low_mm, high_mm) = settings.inspection, settings.range_mm
    failed = sum(image.state == "failed" for image in images)
    summary = [f"{len(images):,} images, {len(hands):,} hands"]
    summary += [f"{failed:,} unreadable"] if failed else []
    summary += [f"model: {inspection.model}", f"camera: {camera_model_in_words(inspection.camera_model)}"]
    means = [hand.mean_std_mm for hand in hands if hand.mean_std_mm is not None]
    if means:
        summary.append(f"sigma mean {np.mean(means):.1f} mm, median {np.median(means):.1f} mm")
    elif hands:
        summary.append(NO_UNCERTAINTY)
    errors = [(hand.error_mm, hand.aligned_error_mm) for hand in hands if hand.error_mm is not None]
    if errors:
        error_mm, aligned_mm = np.mean(np.array(errors, dtype=np.float64), axis=0)
        summary.append(f"mean error: {error_mm:.1f} mm, aligned {aligned_mm:.1f} mm ({len(errors):,} hands)")
    notes = [note] if note else []
    if len(images) > MAX_IMAGES:
        notes.append(f"Only the first {MAX_IMAGES} of {len(images):,} have their image in this file.")
    # Without uncertainty hands are drawn plain.
    has_scale = settings.colour == "uncertainty" and (bool(means) or not hands)
    values = {
        "title": _escaped(inspection.folder.name or str(inspection.folder)),
        "folder": _escaped(str(inspection.folder)),
        "summary": " · ".join(_escaped(part) for part in summary),
        "notes": _escaped(" ".join(notes)),
        "gradient": _gradient(settings.range_mm) if has_scale else "",
        "low": f"{low_mm:g} mm",
        "high": f"{high_mm:g} mm",
        "scale": "scale" if has_scale else "scale hidden",
        "headings": "".join(_heading(column) for column in COLUMNS),
    }
    # In one pass, since inserted text may itself look like a placeholder.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], before)


def _heading(column: Column) -> str:
    kind = "number" if column.form else "text"
    return f'<th class="{kind}" tabindex="0" title="{_escaped(column.meaning)}">{_escaped(column.title)}</th>'


def _line(row: TableRow, jpeg: bytes | None) -> str:
    image = ""
    if jpeg is not None:
        image = f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode("ascii")}">'
    cells = "".join(_cell(column, row) for column in COLUMNS[1:])
    name = _escaped(row.image.file)
    return f'<tr><td data-value="{name}">{image}<span class="name">{name}</span></td>{cells}</tr>\n'


def _cell(column: Column, row: TableRow) -> str:
    value = column.value(row)
    sortable = "" if value is None else _escaped(str(value))
    kind = ' class="number"' if column.form else ""
    return f'<td{kind} data-value="{sortable}">{_escaped(column.text(row))}</td>'


def _gradient(range_mm: tuple[float, float]) -> str:
    stops = colours_from_std(np.linspace(*range_mm, GRADIENT_STOPS), range_mm)
    shades = np.clip(np.rint(stops * 255), 0, 255).astype(int).tolist()
    return ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in shades)


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)


def _bytes(text: str) -> bytes:
    """Encode text; names of files may hold bytes that are not valid text."""
    return text.encode("utf-8", "backslashreplace")
