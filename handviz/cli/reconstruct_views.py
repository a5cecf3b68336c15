"""``handviz reconstruct --views``: moments of a rig -> one mesh a hand, and hands.json."""

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import make_folder
from handviz.core.multiview import MultiViewHand
from handviz.core.onnx_runtime import limit_threads
from handviz.core.output import print_result
from handviz.data.datasets.rigs import open_rig
from handviz.io.hands_json import moment_entry, write_report
from handviz.io.mesh_export import export_mesh, usual_vertices
from handviz.pipeline.image_request import ImageRequest
from handviz.pipeline.multiview import pipeline_for_rig
from handviz.sources.rig_moments import Moment

REPORT_NAME = "hands.json"
LIMIT_OF_MESSAGES = 5
"""So many times one view's flaw is logged; the list has all."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ViewsRun:
    """What is reconstructed of a rig."""

    rig: str
    """RIG.json, or a split of a dataset."""
    out: Path
    request: ImageRequest
    """Its camera is not used."""
    every: int = 1
    """Every N-th moment."""
    threads: int | None = None
    """Of the networks on the processor; None: the usual number."""


def run_views(run: ViewsRun) -> int:
    """Reconstruct the moments of a rig; return 0 if there was a hand.

    Raises HandvizError for a rig that cannot be used, and if the multi-view network is not installed.
    """
    request, out = run.request, run.out
    if run.threads:
        limit_threads(run.threads)
    with ExitStack() as resources:
        source = open_rig(run.rig)
        resources.callback(source.close)
        pipeline = pipeline_for_rig(source, *request.settings())
        resources.callback(pipeline.close)
        entries, flaws = list[dict[str, Any]](), Counter[tuple[str, str]]()
        make_folder(out if request.mesh == "none" else out / "meshes")
        try:
            with logging_redirect_tqdm():
                for moment in tqdm(source.moments(), total=source.count, unit="moment"):
                    if moment.number % run.every:
                        continue
                    hands = pipeline.process(moment)
                    _log(moment, hands, flaws)
                    meshes = [_mesh(moment, number, hand, request, out) for number, hand in enumerate(hands)]
                    entries.append(moment_entry(_file(source.name, moment), moment, hands, meshes, pipeline.model))
        finally:
            if entries:
                write_report(out / REPORT_NAME, entries)
    return _summary(entries, flaws, out / REPORT_NAME)


def _file(rig: str, moment: Moment) -> str:
    return f"{rig}#{moment.number:06d}"


def _mesh(moment: Moment, number: int, hand: MultiViewHand, request: ImageRequest, out: Path) -> str | None:
    """Write a hand's mesh; return its path relative to the output folder, None if none are requested."""
    if request.mesh == "none":
        return None
    relative = f"meshes/moment_{moment.number:06d}_{number}_{hand.hand.handedness}.{request.mesh}"
    vertices = request.mesh_vertices or usual_vertices(f".{request.mesh}", request.colour)
    export_mesh(out / relative, hand.hand, colour=request.colour, vertices=vertices)
    return relative


def _log(moment: Moment, hands: Sequence[MultiViewHand], flaws: Counter[tuple[str, str]]) -> None:
    """Warn of views that are left out, of each view and kind a few times."""
    for left in (*moment.left_out, *(left for hand in hands for left in hand.left_out)):
        flaws[left.name, left.kind] += 1
        if flaws[left.name, left.kind] <= LIMIT_OF_MESSAGES:
            logger.warning("moment %d: view %s is left out: %s", moment.number, left.name, left.reason)


def _summary(entries: Sequence[dict[str, Any]], flaws: Counter[tuple[str, str]], report: Path) -> int:
    hands = [hand for entry in entries for hand in entry["hands"]]
    if not entries:
        raise HandvizError("the rig has no moments: check its sources", ErrorCode.EMPTY_INPUT)
    several = sum(len(hand["views"]) > 1 for hand in hands)
    for (view, kind), count in sorted(flaws.items()):
        print_result("view %s was left out %d times: %s", view, count, kind)
    print_result(
        "%d moments with %d hands, %d of them from several views: %s", len(entries), len(hands), several, report
    )
    return int(not hands)
