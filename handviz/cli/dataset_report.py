"""What ``handviz doctor --dataset`` prints of a download."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from handviz.data.datasets.examination import LEAST_INSIDE_SHARE, SplitReport, examined
from handviz.hand_models.choice import hand_model

NAMED_PICTURES = 5
"""Bad pictures that are named one by one."""
INDENT = " " * 23


def report_dataset(name: str, root: Path, picture_count: int | None, hand_model_file: Path | None = None) -> int:
    """Print what is there of every split, then what is not; 1 if nothing, or none of a split's pictures, is usable."""
    found: list[SplitReport] = []
    missing: dict[str, list[str]] = {}
    template = None if hand_model_file is None else hand_model(hand_model_file)
    for report in examined(name, root, picture_count, template):
        if report.trouble:
            missing.setdefault(report.trouble, []).append(report.split)
            continue
        found.append(report)
        _say(split_lines(report))
    for trouble, of_splits in missing.items():
        _say([f"none {', '.join(of_splits)}", f"{INDENT} {trouble}"])
    return int(not found or not all(report.is_usable for report in found))


def _say(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    # Annotations of the next split may take minutes to read.
    sys.stdout.flush()


def split_lines(found: SplitReport) -> Iterator[str]:
    """A line on the split, then one for each thing that one should know."""
    state = "ok" if found.is_whole else "warn" if found.is_usable else "FAIL"
    official = f" of {found.official_count:,}" if found.official_count else ""
    opened = f"{found.opened - len(found.bad_pictures)} of {found.opened} pictures opened"
    yield f"{state:4} {found.split:18} {found.count:,}{official} samples, {opened} ({', '.join(found.sizes) or 'none'})"
    yield from (f"{INDENT} {remark}" for remark in found.remarks)
    yield from (f"{INDENT} {bad}" for bad in found.bad_pictures[:NAMED_PICTURES])
    if len(found.bad_pictures) > NAMED_PICTURES:
        yield f"{INDENT} and {len(found.bad_pictures) - NAMED_PICTURES} more pictures that cannot be used"
    if found.bad_pictures:
        yield f"{INDENT} ->  download these files again, or train with --bad-pictures skip"
    if found.inside_share < LEAST_INSIDE_SHARE:
        share = f"{found.inside_share:.0%} of the keypoints lie inside the pictures"
        yield f"{INDENT} {share}: pictures and annotations are not of the same download"
