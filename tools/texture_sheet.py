"""Draw textured hands from all sides on one sheet, for a person to judge."""

import itertools
import logging
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import tools
from handviz.cli.evaluate import held_out_crops
from handviz.core.arguments import Count, HeldOutFolder, ModelFolder, Positional
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import atomic_path, make_folder
from handviz.core.geometry import intrinsics_from_field_of_view
from handviz.core.output import print_result
from handviz.core.paths import MODELS, TEXTURE_NAME, model_file
from handviz.core.records import CROP_SIZE, Detection, Frame, FrameResult, HandCrop, PlacedHand
from handviz.data.synthetic.dataset import read_shard
from handviz.detection.crop import hand_mesh_from_crop, mesh_in_crop
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.reconstructor import OnnxReconstructor
from handviz.pipeline.display import model_display
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.pipeline.texture_fusion import Texturer
from handviz.rendering.camera import OrbitCamera
from handviz.rendering.offscreen import OffscreenRenderer
from handviz.rendering.options import DrawOptions
from handviz.sources.source import Source, open_source

logger = logging.getLogger(__name__)
TILE = CROP_SIZE
MIN_HELD_OUT = 64
MARGIN = 1.35
FAR_FIELD_OF_VIEW_DEG = 20.0
"""Of a crop alone, whose camera nobody knows."""
ON_IMAGE = DrawOptions(colour="texture", opacity=1.0, legend=False)
AROUND = replace(ON_IMAGE, view="orbit", inset=False)
BEHIND, ASIDE = OrbitCamera(yaw_rad=math.pi), OrbitCamera(yaw_rad=math.pi / 2)
Image = NDArray[np.uint8]


def held_out_hands(folders: Sequence[Path], count: int, model_dir: Path) -> Iterator[FrameResult]:
    """Yield hands of rendered crops, alternating between the folders, without a detector."""
    template = load_open_hand()
    network = OnnxReconstructor(model_file("final", model_dir), template=template)
    texturer = Texturer(model_dir / TEXTURE_NAME, template)
    shards = [read_shard(folder, 0).images for folder in folders]
    images = itertools.chain.from_iterable(zip(*shards, strict=False))
    intrinsics = intrinsics_from_field_of_view(CROP_SIZE, CROP_SIZE, FAR_FIELD_OF_VIEW_DEG)
    for number, image in enumerate(itertools.islice(images, count)):
        crop = HandCrop(image, np.eye(2, 3), Detection("right", 1.0, np.zeros((21, 2))))
        canonical = network.reconstruct([crop])
        hand = hand_mesh_from_crop(PlacedHand(canonical[0]), crop, intrinsics=intrinsics, model="final")
        (texture,) = texturer.texture([crop], [mesh_in_crop(hand, crop)], (CROP_SIZE, CROP_SIZE))
        yield FrameResult(Frame(number, image, 0.0), "final", hands=(replace(hand, texture=texture),))


def rendered_hands(inputs: Sequence[str], model_dir: Path) -> Iterator[FrameResult]:
    """Yield one result for each hand found in images, folders and clips."""
    config = PipelineConfig(model_dir, video=False, preload_others=False)
    with ExitStack() as resources:
        pipeline = resources.enter_context(Pipeline(PipelineSettings(texture=True), config))
        for text in inputs:
            source = open_source(text)
            resources.callback(source.close)
            if source.is_live:
                raise HandvizError(
                    "a contact sheet is made of images and clips, not of a camera", ErrorCode.OPTION_CONFLICT
                )
            for frame in _frames(source):
                result = pipeline.process(frame)
                if result.error:
                    raise HandvizError(result.error, ErrorCode.NO_HANDS)
                yield from (replace(result, hands=(hand,)) for hand in result.hands)


def _frames(source: Source) -> Iterator[Frame]:
    """Yield the readable frames of a source; log the others."""
    while True:
        try:
            frame = source.read()
        except HandvizError as error:
            logger.warning("%s", error)
            continue
        if frame is None:
            return
        yield frame


def sheet(results: Iterator[FrameResult], count: int) -> Image:
    """Draw a row a hand: image, overlay, overlay with inferred regions marked, side, back, back marked, other light."""
    rows = []
    display = model_display()
    with OffscreenRenderer(display, TILE, TILE) as around, OffscreenRenderer(display) as over:
        for result in itertools.islice(results, count):
            marked = replace(ON_IMAGE, mark_inferred=True)
            tiles = [_tile(image, result) for image in (result.frame.image, over.draw(result, ON_IMAGE))]
            tiles.append(_tile(over.draw(result, marked), result))
            views = [(AROUND, ASIDE), (AROUND, BEHIND), (replace(AROUND, mark_inferred=True), BEHIND)]
            views.append((replace(AROUND, relight=True), OrbitCamera()))
            tiles += [around.draw(result, options, orbit) for options, orbit in views]
            rows.append(np.hstack(tiles))
    if not rows:
        raise HandvizError("no hand was found in these images", ErrorCode.NO_HANDS)
    return np.vstack(rows)


def _tile(image: Image, result: FrameResult) -> Image:
    """Return the square around the hand, cut out of an image of any size."""
    points = result.hands[0].vertices_px * (image.shape[1] / result.frame.image.shape[1])
    low, high = points.min(axis=0), points.max(axis=0)
    side = max(float((high - low).max()) * MARGIN, 8.0)
    corner = (low + high) / 2 - side / 2
    scale = TILE / side
    affine = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.warpAffine(image, affine, (TILE, TILE), flags=flags), np.uint8)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Images to show, or held-out crops."""

    input: Positional[tuple[str, ...]] = ()
    """Images, folders or clips; without any: held-out crops."""
    out: Path
    """PNG to write."""
    count: Count = 10
    """Hands."""
    held_out: HeldOutFolder = None
    model_dir: ModelFolder = MODELS


def run(arguments: Arguments) -> int:
    """Draw and write the sheet."""
    with tempfile.TemporaryDirectory() as temporary:
        if arguments.input:
            results = rendered_hands(arguments.input, arguments.model_dir)
        else:
            saved = arguments.held_out
            crops = held_out_crops(saved or Path(temporary), MIN_HELD_OUT, keep=saved is not None)
            results = held_out_hands([part.directory for part in crops], arguments.count, arguments.model_dir)
        image = sheet(results, arguments.count)
    make_folder(arguments.out.parent)
    with atomic_path(arguments.out) as part:
        if not cv2.imwrite(str(part), image[..., ::-1]):
            raise HandvizError(f"cannot write {arguments.out}", ErrorCode.NOT_WRITABLE)
    print_result("wrote %s", arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(tools.run("texture_sheet"))
