"""``handviz reconstruct``: image, folder or clip -> overlays, meshes and hands.json."""

import argparse
import dataclasses
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import numpy as np
from PIL import Image
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from handviz.capture.sources import ClipSource, FolderSource, Source, open_source
from handviz.errors import HandvizError
from handviz.geometry import DEFAULT_FIELD_OF_VIEW_DEG, FOCAL_STD_SHARES
from handviz.hand_model.choice import add_hand_model_option, display_mesh, found_mano, hand_model
from handviz.hand_model.template import HandTemplate
from handviz.infer.mano_file import ManoRecord, check_mano_path, fit_sentence, write_mano
from handviz.infer.mano_of_hands import mano_of_hand
from handviz.infer.mesh_export import MeshVertices, export_mesh
from handviz.infer.pipeline import Pipeline, PipelineSettings
from handviz.infer.report import distance_from_detector, output_stems, picture_entry, unreadable_entry, write_report
from handviz.lens import ASSUMED_LENS, UNMEASURED, HandSize, Lens, lens_of_intrinsics
from handviz.lens_files import read_lens
from handviz.paths import MODELS
from handviz.records import SMOOTHING_KINDS, VARIANTS, Frame, FrameResult, Intrinsics, SideChoice
from handviz.render.offscreen import OffscreenRenderer
from handviz.render.options import DrawOptions

MOST_HANDS_OF_PICTURES, MOST_HANDS_OF_CLIPS = 10, 2
LEAST_SIDE_FOR_LEGEND_PX = 400
REPORT_NAME = "hands.json"
logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to reconstruct, with what, and where to."""
    parser.epilog = "Exit status 0 if at least one picture was done, 1 if none was; the rest is named in messages."
    parser.add_argument("input", help="picture, folder of pictures, or clip")
    parser.add_argument("--variant", choices=VARIANTS, default="final")
    parser.add_argument("--out", type=Path, required=True, help="folder for overlays, meshes and hands.json")
    parser.add_argument("--mesh", choices=("ply", "obj", "glb", "none"), default="ply")
    parser.add_argument(
        "--colour",
        choices=("deviation", "plain", "texture"),
        default="deviation",
        help="texture is a PNG around the dense mesh in glb and obj, and colours at vertices in ply",
    )
    parser.add_argument(
        "--mesh-vertices",
        choices=("model", "display"),
        help="the hand model's own 778 or the 1609 that are drawn (model for ply and for obj without texture)",
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="ask all variants: overlays in three panes, and their distances in hands.json",
    )
    parser.add_argument("--no-overlays", action="store_true", help="only meshes and hands.json; needs no OpenGL")
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument(
        "--field-of-view",
        type=_degrees,
        metavar="DEG",
        help=f"degrees over the longer side ({DEFAULT_FIELD_OF_VIEW_DEG:g} is assumed)",
    )
    camera.add_argument("--focal-px", type=_positive, metavar="F", help="focal length in pixels, if it is known")
    camera.add_argument(
        "--intrinsics",
        nargs="+",
        metavar="FX FY CX CY",
        help="of these pictures, in pixels; or a file: a lens that handviz saved, or OpenCV's YAML",
    )
    hand = parser.add_mutually_exclusive_group()
    hand.add_argument("--hand-length", type=_millimetres, metavar="MM", help="crease of the wrist to middle fingertip")
    hand.add_argument("--hand-breadth", type=_millimetres, metavar="MM", help="palm across the four knuckles")
    parser.add_argument(
        "--hand-std", type=_millimetres, default=UNMEASURED.std_mm, metavar="MM", help="of that number (%(default)s)"
    )
    parser.add_argument("--every", type=_count, default=1, metavar="N", help="of a clip, every N-th frame")
    parser.add_argument("--smoothing", type=_share, default=0.0, metavar="S", help="of a clip, 0 (off) to 1")
    parser.add_argument("--smoothing-kind", choices=SMOOTHING_KINDS, default="kalman", help="(%(default)s)")
    parser.add_argument("--max-hands", type=_count, metavar="N", help="10 in pictures, 2 in clips")
    parser.add_argument(
        "--side",
        choices=get_args(SideChoice),
        default="detected",
        help="which hand is which, where the detector gets it wrong (%(default)s)",
    )
    parser.add_argument("--model-dir", type=Path, default=MODELS)
    add_hand_model_option(parser)
    parser.add_argument(
        "--save-mano", type=Path, metavar="FILE", help="also every hand as MANO parameters, json or npz"
    )
    parser.add_argument(
        "--mano", type=Path, metavar="FILE", help="the MANO_RIGHT.pkl to fit, where the network is of another hand"
    )
    parser.add_argument(
        "--network-camera", action="store_true", help="do not let the detector's keypoints correct the network's camera"
    )
    parser.add_argument(
        "--network-pose", action="store_true", help="do not let MediaPipe's landmarks correct the network's pose"
    )


def run(arguments: argparse.Namespace) -> int:
    """Do all pictures that can be done; 0 if there was one."""
    with ExitStack() as resources:
        source = open_source(arguments.input)
        resources.callback(source.close)
        if source.is_live:
            raise HandvizError("reconstruct reads pictures and clips; for a camera start app.py")
        job = Job(arguments, source, resources)
        try:
            with logging_redirect_tqdm():
                job.run()
        finally:
            job.finish()
    return 0 if job.done else 1


class Job:
    """One run: its outputs, and what is done so far."""

    def __init__(self, arguments: argparse.Namespace, source: Source, resources: ExitStack) -> None:
        self._arguments, self._source = arguments, source
        self._is_clip = isinstance(source, ClipSource)
        most_hands = MOST_HANDS_OF_CLIPS if self._is_clip else MOST_HANDS_OF_PICTURES
        settings = PipelineSettings(
            model_dir=arguments.model_dir,
            variant=arguments.variant,
            smoothing=arguments.smoothing,
            smoothing_kind=arguments.smoothing_kind,
            max_hands=arguments.max_hands or most_hands,
            video=self._is_clip,
            other_variants=False,
            align_to_detector=not arguments.network_camera,
            correct_pose=not arguments.network_pose,
            texture=arguments.colour == "texture",
            hand_size=_hand_size(arguments),
            side=arguments.side,
            compare=arguments.compare,
            hand_model=arguments.hand_model,
        )
        self._camera_for = _camera_maker(arguments)
        self._pipeline = resources.enter_context(Pipeline(settings))
        self._renderer = self._new_renderer(resources)
        self._mano = self._mano_model()
        self._mano_records: list[ManoRecord] = []
        self._make_folders()
        self._entries: list[dict[str, Any]] = []
        self._distances: list[float] = []
        self._stems: dict[str, str] | None = None
        self.done = 0

    def run(self) -> None:
        """Go through the source; unreadable pictures are named and passed."""
        total = self._source.frame_count
        for number, item in tqdm(self._items(), total=total and -(-total // self._arguments.every), unit="picture"):
            file = self._file(number)
            if isinstance(item, HandvizError):
                logger.error("%s", item)
                self._entries.append(unreadable_entry(file, str(item)))
            else:
                self._entries.append(self._reconstruct(item, file))
                self.done += 1

    def finish(self) -> None:
        """Write the list of what is done, also after an interruption, and say where it is."""
        report = self._arguments.out / REPORT_NAME
        write_report(report, sorted(self._entries, key=lambda entry: str(entry["file"])))
        if self._mano is not None:
            write_mano(self._arguments.save_mano, self._mano_records, self._mano, "absolute")
            logger.info("%s", fit_sentence(self._mano_records, self._arguments.save_mano))
        failed = len(self._entries) - self.done
        logger.info("%d pictures with %d hands, %d unreadable: %s", self.done, len(self._distances), failed, report)
        if self._distances:
            mean, median = 100 * np.mean(self._distances), 100 * np.median(self._distances)
            told = "projected keypoints lie %.1f %% of the hand's box from the detector's, the middle one %.1f %%"
            logger.info(told, mean, median)

    def _items(self) -> Iterator[tuple[int, Frame | HandvizError]]:
        """Number and frame, or what is wrong with it, of every wanted frame."""
        number, announced = 0, self._source.frame_count or 0
        while True:
            item: Frame | HandvizError | None
            try:
                item = self._source.read()
            except HandvizError as error:
                item = error
            if item is None:
                if self._is_clip and number < announced:
                    logger.warning("%s: of %d frames only %d can be read", self._source.name, announced, number)
                return
            if number % self._arguments.every == 0:
                yield number, item
            number += 1

    def _reconstruct(self, frame: Frame, file: str) -> dict[str, Any]:
        height, width = frame.image.shape[:2]
        intrinsics = self._camera_for(width, height)
        if self._is_clip:  # the time of the clip, not of reading it
            frame = dataclasses.replace(frame, captured_ms=frame.number * 1000 / self._source.nominal_fps)
        result = self._pipeline.process_with(frame, intrinsics)
        for trouble in (result.trouble, *result.other_troubles.values()):
            if trouble:
                raise HandvizError(trouble)
        self._distances += [
            distance_from_detector(*found) for found in zip(result.hands, result.detections, strict=True)
        ]
        if self._mano is not None:
            self._mano_records += [
                mano_of_hand(hand, self._mano, source=file, number=number) for number, hand in enumerate(result.hands)
            ]
        name = self._output_name(frame.number)
        try:
            self._write_overlay(result, name)
            meshes = [self._write_mesh(result, index, name) for index in range(len(result.hands))]
        except OSError as error:
            raise HandvizError(f"{self._arguments.out} cannot be written: {error}") from error
        return picture_entry(file, result, intrinsics, meshes)

    def _write_overlay(self, result: FrameResult, name: str) -> None:
        if self._renderer is not None:
            legend = min(result.frame.image.shape[:2]) >= LEAST_SIDE_FOR_LEGEND_PX
            options = DrawOptions(colour=self._arguments.colour, legend=legend, compare=self._arguments.compare)
            picture = self._renderer.draw(result, options)
            Image.fromarray(picture).save(self._arguments.out / "overlays" / f"{name}.png")

    def _write_mesh(self, result: FrameResult, index: int, name: str) -> str | None:
        """The file's path relative to the output folder; None if no meshes are wanted."""
        kind, hand, colour = self._arguments.mesh, result.hands[index], self._arguments.colour
        if kind == "none":
            return None
        relative = f"meshes/{name}_{index}_{hand.handedness}.{kind}"
        plain_file = kind == "ply" or (kind == "obj" and colour != "texture")
        vertices: MeshVertices = self._arguments.mesh_vertices or ("model" if plain_file else "display")
        picture, path = result.frame.image, self._arguments.out / relative
        export_mesh(path, hand, colour=colour, picture=picture, vertices=vertices)
        return relative

    def _file(self, number: int) -> str:
        """What the list calls a picture: its file name, in clips with the frame's number."""
        if isinstance(self._source, FolderSource):
            return self._source.paths[number].name
        return f"{self._source.name}#{number:06d}"

    def _output_name(self, number: int) -> str:
        """The picture's name without suffix, unless another picture differs only in that."""
        if not isinstance(self._source, FolderSource):
            return f"{Path(self._source.name).stem}_{number:06d}"
        if self._stems is None:
            self._stems = output_stems([path.name for path in self._source.paths])
        return self._stems[self._source.paths[number].name]

    def _new_renderer(self, resources: ExitStack) -> OffscreenRenderer | None:
        if self._arguments.no_overlays:
            return None
        surface = display_mesh(self._pipeline.template)
        try:
            return resources.enter_context(OffscreenRenderer(surface))
        except HandvizError as error:
            raise HandvizError(f"{error}; --no-overlays does without") from error

    def _mano_model(self) -> HandTemplate | None:
        """The MANO hand to save: the network's own, or the one given to be fitted to its keypoints."""
        if self._arguments.save_mano is None:
            return None
        check_mano_path(self._arguments.save_mano)
        own = self._pipeline.template
        fitted = hand_model(self._arguments.mano) if self._arguments.mano else found_mano()
        if own.name == "mano" or fitted is not None:
            return own if own.name == "mano" else fitted
        raise HandvizError("--save-mano needs your MANO_RIGHT.pkl: give it by --mano FILE, or put it into models/mano")

    def _make_folders(self) -> None:
        out: Path = self._arguments.out
        folders = [out, *([out / "meshes"] if self._arguments.mesh != "none" else [])]
        folders += [out / "overlays"] if self._renderer is not None else []
        try:
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HandvizError(f"the folder {out} cannot be made: {error}") from error


def _hand_size(arguments: argparse.Namespace) -> HandSize:
    if arguments.hand_length:
        return HandSize("length", arguments.hand_length, arguments.hand_std)
    if arguments.hand_breadth:
        return HandSize("breadth", arguments.hand_breadth, arguments.hand_std)
    return UNMEASURED


def _camera_maker(arguments: argparse.Namespace) -> Callable[[int, int], Intrinsics]:
    """What gives K of pictures of some width and height; HandvizError at a K or a file that cannot be."""
    share = FOCAL_STD_SHARES["stated"]
    if arguments.focal_px:
        return lambda width, height: Intrinsics(arguments.focal_px, width / 2, height / 2, focal_std_share=share)
    if arguments.field_of_view:
        return Lens("angle", arguments.field_of_view).intrinsics_for
    if not arguments.intrinsics:
        return ASSUMED_LENS.intrinsics_for
    if len(arguments.intrinsics) == 1:
        return read_lens(Path(arguments.intrinsics[0])).intrinsics_for
    try:
        fx, fy, cx, cy = map(float, arguments.intrinsics)
    except ValueError as error:
        raise HandvizError("--intrinsics takes four numbers, FX FY CX CY, or one file") from error
    known = Intrinsics(fx, cx, cy, fy)
    return lambda width, height: lens_of_intrinsics(known, (width, height)).intrinsics_for(width, height)


def _number(text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text} is not a number from {low:g} to {high:g}")
    return value


def _degrees(text: str) -> float:
    return _number(text, 5.0, 170.0)


def _millimetres(text: str) -> float:
    return _number(text, 0.5, 280.0)


def _positive(text: str) -> float:
    return _number(text, 1.0, 1e6)


def _share(text: str) -> float:
    return _number(text, 0.0, 1.0)


def _count(text: str) -> int:
    return int(_number(text, 1, 1e6))
