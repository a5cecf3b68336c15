"""Lists the input's images and reconstructs each: entry of ``hands.json``, meshes, overlay."""

import functools
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from PIL import Image

from handviz.core.arguments import HandModelFile, ModelFolder, Option
from handviz.core.camera_model import (
    ASSUMED_CAMERA,
    UNMEASURED,
    CameraModel,
    HandSize,
    camera_model_of_intrinsics,
    intrinsics_of_exif,
)
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import is_usable, make_folder, not_writable, open_atomic
from handviz.core.paths import MODELS
from handviz.core.records import (
    Frame,
    FrameResult,
    HandednessSetting,
    HandMesh,
    Intrinsics,
    ModelId,
    left_out_text,
)
from handviz.detection.detectors import DetectorOption
from handviz.io.hands_json import fitting_stem, image_entry, output_stems
from handviz.io.mesh_export import ExportColour, MeshVertices, export_mesh, usual_vertices
from handviz.models.registry import ModelChoice, model_ids, model_spec
from handviz.pipeline.display import model_display
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import MAX_HANDS_OF_IMAGES, PipelineConfig, PipelineSettings
from handviz.rendering.offscreen import OffscreenRenderer
from handviz.rendering.options import MAX_COMPARED, MIN_COMPARED, DrawOptions
from handviz.sources.file_kinds import is_image_file
from handviz.sources.images import image_frame, note_on_light

MIN_SIDE_FOR_LEGEND_PX, LIST_SUFFIX = 400, ".txt"
logger = logging.getLogger(__name__)
MeshKind = Literal["ply", "obj", "glb", "none"]
ModelChoices = Annotated[
    tuple[ModelId, ...], Option(metavar="MODEL ...", choices=model_ids, words="*", help="Compare with these models.")
]
"""The option ``--compare-with``."""


class ListedImage(NamedTuple):
    """An image of the input."""

    file: str
    """Its path relative to the input's folder, with "/": its name in ``hands.json``."""
    stem: str
    """Beginning of the names of its meshes and overlays."""


@dataclass(frozen=True)
class ImageCamera:
    """The camera of images of any size: a camera model, or K in the pixels of every single image."""

    camera_model: CameraModel = ASSUMED_CAMERA
    known: Intrinsics | None = None
    """The same K for images of all sizes."""
    focal_px: float | None = None
    """The same focal length in images of all sizes, with the principal point in the centre."""
    focal_std_fraction: float = 0.0
    """Of ``focal_px``."""

    def intrinsics_of(self, frame: Frame) -> Intrinsics:
        """Return K of an image, by its EXIF if nothing is stated; HandvizError if ``known`` cannot belong to it."""
        height, width = frame.image.shape[:2]
        is_assumed = self.focal_px is None and self.known is None and self.camera_model.mode == "assumed"
        if is_assumed and frame.exif_focal_px is not None:
            return intrinsics_of_exif(frame.exif_focal_px, width, height)
        return self.intrinsics_for(width, height)

    def intrinsics_for(self, width: int, height: int) -> Intrinsics:
        """Return K for an image of this size without EXIF; HandvizError if ``known`` cannot belong to it."""
        if self.focal_px is not None:
            return Intrinsics(self.focal_px, width / 2, height / 2, focal_std_fraction=self.focal_std_fraction)
        if self.known is not None:
            return camera_model_of_intrinsics(self.known, (width, height)).intrinsics_for(width, height)
        return self.camera_model.intrinsics_for(width, height)


@dataclass(frozen=True)
class ImageRequest:
    """The options that determine an image's entry in ``hands.json`` and its meshes."""

    model_dir: ModelFolder = MODELS
    hand_model: HandModelFile = None
    """The user's MANO file; None: the hand model that the networks name, if it is known, or the open hand."""
    model: ModelChoice = "final"
    camera: ImageCamera = ImageCamera()
    hand_size: HandSize = UNMEASURED
    max_hands: int = MAX_HANDS_OF_IMAGES
    detector: DetectorOption = "handviz"
    side: HandednessSetting = "detected"
    """Which hand is which, where the detector gets it wrong."""
    align_to_detector: bool = True
    correct_pose: bool = True
    compare: bool = False
    """Run all models, four at most, and report their differences; overlays get a pane for each."""
    compare_with: ModelChoices = ()
    """Compare with these models, one to three, instead of all."""
    mesh: MeshKind = "none"
    """Format of a mesh for every hand."""
    colour: ExportColour = "uncertainty"
    """Of meshes: texture is a PNG around the dense mesh in glb and obj, and colours at vertices in ply."""
    mesh_vertices: MeshVertices | None = None
    """The hand model's own 778 or the 1609 that are drawn; without it the model's in ply and in obj without texture."""

    @property
    def compared(self) -> tuple[ModelId, ...]:
        """The models that run on every image, in the order of the registry; none if no models are compared.

        HandvizError if they are not two to four known ones.
        """
        return compared_models(self.model, self.compare_with) if self.compare or self.compare_with else ()

    def settings(self) -> tuple[PipelineSettings, PipelineConfig]:
        """Return what a pipeline needs for images that do not follow each other."""
        settings = PipelineSettings(
            self.model,
            others=self.compared,
            hand_size=self.hand_size,
            side=self.side,
            max_hands=self.max_hands,
            texture=self.colour == "texture",
        )
        config = PipelineConfig(
            self.model_dir,
            self.hand_model,
            detector=self.detector,
            max_hands_of_images=self.max_hands,
            video=False,
            preload_others=False,
            align_to_detector=self.align_to_detector,
            correct_pose=self.correct_pose,
        )
        return settings, config


def compared_models(model: ModelId, others: tuple[ModelId, ...] = ()) -> tuple[ModelId, ...]:
    """Return a model and those to compare it with, in the order of the registry; HandvizError unless two to four.

    Without ``others``: the first ones of the registry beside it.
    """
    known = model_ids()
    others = tuple(model_spec(name).id for name in others)
    others = others or tuple(name for name in known if name != model)[: MAX_COMPARED - 1]
    chosen = tuple(name for name in known if name in (model, *others))
    if not MIN_COMPARED <= len(chosen) <= MAX_COMPARED:
        found = f"{len(chosen)} ({', '.join(chosen)})"
        raise HandvizError(
            f"{MIN_COMPARED} to {MAX_COMPARED} models are compared, not {found}: choose again", ErrorCode.BAD_VALUE
        )
    return chosen


def comparing(compared: tuple[ModelId, ...], options: DrawOptions) -> DrawOptions:
    """Return options with a pane for each of these models; as they are if there is none."""
    return replace(options, compare=True, compared=compared) if compared else options


def listed_images(source: Path, *, recursive: bool, leave_out: Path) -> Iterator[ListedImage]:
    """Yield the images of a folder, of a .txt file with a path on every line, or one image.

    Images of a folder come in the order of their characters; no more names than those of one folder are in memory.
    Hidden files and ``leave_out`` are left out, links to folders are not followed (they may be circular).
    """
    suffix = source.suffix.lower()
    if source.is_dir():
        yield from _images_in(source, "", recursive, os.path.realpath(leave_out))
    elif suffix == LIST_SUFFIX:
        try:
            with source.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
                names = filter(None, (line.rstrip("\r\n") for line in lines))
                yield from (ListedImage(name, _listed_stem(at, name)) for at, name in enumerate(names))
        except OSError as error:
            raise HandvizError(f"{source} cannot be read: {error.strerror}", ErrorCode.FILE_UNREADABLE) from error
    elif source.is_file() and is_image_file(source):
        yield ListedImage(source.name, fitting_stem(source.stem, source.name))
    else:
        raise HandvizError(
            f"{source}: shards are made of a folder, an image or a {LIST_SUFFIX} list of images",
            ErrorCode.UNSUPPORTED_FORMAT,
        )


def _listed_stem(at: int, name: str) -> str:
    """Return the stem of an image of a list, which may name it twice: its place comes first."""
    return fitting_stem(f"{at:09d}_{Path(name).stem}", f"{at} {name}")


def _images_in(folder: Path, prefix: str, recursive: bool, leave_out: str) -> Iterator[ListedImage]:
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
            folders = {entry.name + "/" for entry in visible if recursive and entry.is_dir(follow_symlinks=False)}
            files = [entry.name for entry in visible if entry.is_file() and is_image_file(Path(entry.path))]
    except OSError as error:
        _warn_once(f"{folder} cannot be read ({error.strerror}): its images are left out")
        return
    stems = output_stems(files)
    # Sorted with the folder's slash, so that whole paths come out sorted.
    for name in sorted({*folders, *files}):
        if name not in folders:
            yield ListedImage(prefix + name, prefix + stems[name])
        elif os.path.realpath(folder / name) != leave_out:
            yield from _images_in(folder / name, prefix + name, recursive, leave_out)


@functools.cache
def _warn_once(message: str) -> None:
    logger.warning("%s", message)


@functools.cache
def _log_once(message: str) -> None:
    logger.info("%s", message)


def reconstructed(pipeline: Pipeline, frame: Frame, camera: ImageCamera) -> tuple[FrameResult, Intrinsics]:
    """Return the hands of a frame and their K; HandvizError if any requested part is missing.

    In comparisons the model itself is requested; of the others the result names those that failed.
    """
    intrinsics = camera.intrinsics_of(frame)
    if intrinsics.origin == "exif":
        _log_once(
            "the focal length that images state in their EXIF is used; --field-of-view or --intrinsics override it"
        )
    result = pipeline.process_with(frame, intrinsics)
    if message := result.failure or result.error:
        raise HandvizError(message, ErrorCode.NO_RESULT)
    for model, error in result.other_errors.items():
        _warn_once(f"{model} is not compared: {error}")
    if frame.name and not result.hands and (note := note_on_light(frame.image)):
        logger.warning("%s: %s", frame.name, note)
    if frame.name and (text := left_out_text(len(result.hands), result.left_out)):
        logger.warning("%s: %s", frame.name, text)
    return result, intrinsics


class OutputError(HandvizError):
    """Failure to write to the output folder, which is no fault of the image."""


@contextmanager
def outputs_checked(out: Path) -> Iterator[None]:
    """Tell errors of one image's files, such as a name that the disk does not allow, from those of all images' files.

    Raises OutputError if the disk is full or ``out`` or a folder in it cannot be written, else HandvizError.
    """
    try:
        yield
    except (OSError, HandvizError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError):
            raise
        folders = [out, *(folder for folder in (out / "meshes", out / "overlays") if os.path.lexists(folder))]
        failure = error if isinstance(error, HandvizError) else not_writable(Path(cause.filename or ""), cause)
        if failure.code == ErrorCode.DISK_FULL or not all(map(is_usable, folders)):
            raise OutputError(str(failure), failure.code) from error
        raise HandvizError(str(failure), failure.code) from error


class ImageReconstructor:
    """Networks and renderer for still images: image file in, entry of ``hands.json``, meshes and overlay out."""

    def __init__(self, request: ImageRequest, out: Path, *, overlays: bool = False) -> None:
        """Load the networks; HandvizError if they, or OpenGL for ``overlays``, are not usable."""
        self._request, self._out = request, out
        self._renderer: OffscreenRenderer | None = None
        with ExitStack() as resources:
            self._pipeline = resources.enter_context(Pipeline(*request.settings()))
            if overlays:
                self._renderer = resources.enter_context(overlay_renderer(self._pipeline))
            self._resources = resources.pop_all()

    def entry(self, path: Path, file: str, stem: str) -> dict[str, Any]:
        """Return the entry of the image at ``path``, named ``file`` there; ``stem`` begins the names of its outputs.

        Raises HandvizError if the image cannot be reconstructed, OutputError if its outputs cannot be written.
        """
        frame = image_frame(path)
        if frame.note:
            logger.warning("%s", frame.note)
        found = reconstructed(self._pipeline, frame, self._request.camera)
        with outputs_checked(self._out):
            if self._renderer is not None:
                write_overlay(self._renderer, found[0], self._request, self._out / "overlays" / f"{stem}.png")
            if self._request.mesh != "none":
                make_folder((self._out / "meshes" / stem).parent)
            return written_entry(file, found, self._request, self._out, f"meshes/{stem}")

    def close(self) -> None:
        """Free the networks and the renderer."""
        self._resources.close()


def overlay_renderer(pipeline: Pipeline) -> OffscreenRenderer:
    """Return the renderer of a pipeline's hands; HandvizError if there is no OpenGL."""
    try:
        return OffscreenRenderer(model_display(pipeline.template))
    except HandvizError as error:
        raise HandvizError(f"{error}; --no-overlays does without", error.code) from error


def write_overlay(renderer: OffscreenRenderer, result: FrameResult, request: ImageRequest, path: Path) -> None:
    """Write the image with its hands drawn over it."""
    legend = min(result.frame.image.shape[:2]) >= MIN_SIDE_FOR_LEGEND_PX
    drawn = renderer.draw(result, comparing(request.compared, DrawOptions(colour=request.colour, legend=legend)))
    make_folder(path.parent)
    with open_atomic(path) as file:
        Image.fromarray(drawn).save(file, "PNG")


def written_entry(
    file: str, found: tuple[FrameResult, Intrinsics], request: ImageRequest, out: Path, mesh_stem: str
) -> dict[str, Any]:
    """Write the meshes of an image, ``out / mesh_stem`` with hand and suffix; return its object in ``hands.json``."""
    result, intrinsics = found
    meshes = [
        _written_mesh(hand, result, request, out, f"{mesh_stem}_{index}_{hand.handedness}")
        for index, hand in enumerate(result.hands)
    ]
    input_px = model_spec(result.model).crop.size_px
    return image_entry(file, result, intrinsics, meshes, network_input_px=input_px)


def _written_mesh(hand: HandMesh, result: FrameResult, request: ImageRequest, out: Path, stem: str) -> str | None:
    """Write a hand's mesh; return its path relative to the output folder, or None if no meshes are requested."""
    kind, colour = request.mesh, request.colour
    if kind == "none":
        return None
    relative = f"{stem}.{kind}"
    vertices = request.mesh_vertices or usual_vertices(f".{kind}", colour)
    export_mesh(out / relative, hand, colour=colour, image=result.frame.image, vertices=vertices)
    return relative
