"""Examination of a downloaded dataset: the content of every split, and whether its images open and belong to it."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import HandvizError
from handviz.data.datasets.annotated import HandDataset
from handviz.data.datasets.posing import mano_warning
from handviz.data.datasets.registry import DatasetSpec, open_dataset, reader, splits
from handviz.hand_models.choice import hand_model
from handviz.hand_models.template import HandTemplate

THREADS = 8
MIN_INSIDE_FRACTION = 0.5
"""Of the keypoints in the opened images: fewer come from another camera, or from another image's annotation."""
NAMED_IMAGES = 5
"""Bad images that are named one by one."""
INDENT = " " * 23


@dataclass(frozen=True)
class SplitReport:
    """Findings on one split."""

    split: str
    count: int = 0
    official_count: int | None = None
    warnings: Sequence[str] = ()
    opened: int = 0
    """Images that were tried"""
    sizes: Sequence[str] = ()
    """Of images, such as "640 x 480" """
    bad_images: Sequence[str] = ()
    """A message for each that could not be used"""
    inside_fraction: float = 1.0
    """Of the keypoints, inside the images that were opened"""
    error: str = ""
    """Why the split cannot be used at all; empty if it can"""

    @property
    def is_usable(self) -> bool:
        """Whether one can train or evaluate on it, leaving out bad images."""
        return not self.error and len(self.bad_images) < self.opened

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing and nothing was found wrong."""
        all_there = self.official_count in (None, self.count)
        return self.is_usable and all_there and not self.bad_images and self.inside_fraction >= MIN_INSIDE_FRACTION


def examine(
    name: str, root: Path, image_count: int | None, template: HandTemplate | None = None
) -> Iterator[SplitReport]:
    """Yield a report on every split; ``image_count`` images of each are opened, uniformly spread, or all if None.

    With a user's MANO its points are compared with the dataset's.
    """
    for split in splits(name):
        yield examine_split(DatasetSpec(name, split, root), image_count, template)


def examine_split(spec: DatasetSpec, image_count: int | None, template: HandTemplate | None = None) -> SplitReport:
    """Examine one split."""
    try:
        dataset = open_dataset(spec)
    except HandvizError as error:
        return SplitReport(spec.split, error=str(error))
    rows = spread_rows(len(dataset), image_count)
    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(lambda row: _examine_image(dataset, row), rows.tolist()))
    fractions = [result for result in results if not isinstance(result, str)]
    return SplitReport(
        spec.split,
        count=len(dataset),
        official_count=getattr(reader(spec.name), "OFFICIAL_COUNTS", {}).get((spec.name, spec.split)),
        warnings=(*dataset.warnings, *_model_warning(dataset, template)),
        opened=len(rows),
        sizes=sorted({size for size, _ in fractions}),
        bad_images=[result for result in results if isinstance(result, str)],
        inside_fraction=float(np.mean([fraction for _, fraction in fractions])) if fractions else 1.0,
        error="" if len(dataset) else "It holds no hand that can be used.",
    )


def _model_warning(dataset: HandDataset, template: HandTemplate | None) -> tuple[str, ...]:
    warning = mano_warning(dataset, template) if template is not None and len(dataset) else ""
    return (warning,) if warning else ()


def spread_rows(length: int, count: int | None) -> NDArray[np.intp]:
    """Return the first row, the last and some in between, or all."""
    if count is None or count >= length:
        return np.arange(length)
    return np.unique(np.linspace(0, length - 1, count).round().astype(np.intp))


def _examine_image(dataset: HandDataset, row: int) -> tuple[str, float] | str:
    """Return size of the image and fraction of the keypoints inside it, or what is wrong with it."""
    try:
        height, width = dataset.image(row).shape[:2]
    except HandvizError as error:
        return str(error)
    keypoints = dataset.hand(row).keypoints_px
    inside = ((keypoints >= 0) & (keypoints <= [width, height])).all(axis=1)
    return f"{width} x {height}", float(inside.mean())


# The output of ``handviz doctor --dataset``.


def report_dataset(name: str, root: Path, image_count: int | None, hand_model_file: Path | None = None) -> int:
    """Print what every split holds, then what is missing; 1 if nothing, or none of a split's images, is usable."""
    found: list[SplitReport] = []
    missing: dict[str, list[str]] = {}
    template = None if hand_model_file is None else hand_model(hand_model_file)
    for report in examine(name, root, image_count, template):
        if report.error:
            missing.setdefault(report.error, []).append(report.split)
            continue
        found.append(report)
        _print(split_lines(report))
    for error, of_splits in missing.items():
        _print([f"none {', '.join(of_splits)}", f"{INDENT} {error}"])
    return int(not found or not all(report.is_usable for report in found))


def _print(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    # Annotations of the next split may take minutes to read.
    sys.stdout.flush()


def split_lines(found: SplitReport) -> Iterator[str]:
    """Yield a line on the split, then one for each finding."""
    state = "ok" if found.is_whole else "warn" if found.is_usable else "FAIL"
    official = f" of {found.official_count:,}" if found.official_count else ""
    opened = f"{found.opened - len(found.bad_images)} of {found.opened} images opened"
    yield f"{state:4} {found.split:18} {found.count:,}{official} samples, {opened} ({', '.join(found.sizes) or 'none'})"
    yield from (f"{INDENT} {warning}" for warning in found.warnings)
    yield from (f"{INDENT} {bad}" for bad in found.bad_images[:NAMED_IMAGES])
    if len(found.bad_images) > NAMED_IMAGES:
        yield f"{INDENT} and {len(found.bad_images) - NAMED_IMAGES} more images that cannot be used"
    if found.bad_images:
        yield f"{INDENT} ->  download these files again, or train with --bad-images skip"
    if found.inside_fraction < MIN_INSIDE_FRACTION:
        fraction = f"{found.inside_fraction:.0%} of the keypoints lie inside the images"
        yield f"{INDENT} {fraction}: images and annotations are not of the same download"
