"""The Python API: models that turn images into hands; ``handviz.load`` and the other public names lead here.

The commands use the same ``Model``, so that their results are those of the API.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, TypeVar, Unpack, get_args

import numpy as np
from numpy.typing import NDArray

from handviz.core.camera_files import read_camera_file
from handviz.core.camera_model import UNMEASURED, HandSize, intrinsics_from_numbers
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.onnx_runtime import check_device
from handviz.core.paths import MODELS
from handviz.core.records import (
    SMOOTHING_KINDS,
    DetectorChoice,
    Device,
    Frame,
    Handedness,
    HandednessSetting,
    HandMesh,
    Heatmaps,
    Intrinsics,
    NetworkFile,
    NetworkRole,
    SmoothingKind,
    UncertaintyKind,
    uncertainty_kind,
)
from handviz.core.shape_posterior import ShapePosterior
from handviz.core.units import MILLIMETRES_PER_METRE
from handviz.hand_models.choice import hand_model
from handviz.hand_models.template import HandTemplate
from handviz.io.mesh_export import export_mesh, usual_vertices
from handviz.io.mesh_io import faces_for
from handviz.io.recording.tracks import TrackNames
from handviz.models.base import LoadContext
from handviz.models.reconstructor import ModelCache
from handviz.models.registry import ModelSpec, model_spec
from handviz.pipeline.image_request import ImageCamera, ImageRequest, reconstructed
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import MAX_HANDS_OF_CLIPS, MAX_HANDS_OF_IMAGES
from handviz.sources.arrays import ArraySource, checked_rgb
from handviz.sources.images import image_frame, now_ms
from handviz.sources.source import Source, open_source, timed_frames

T = TypeVar("T")
FloatArray = NDArray[np.float64]
ImageLike = NDArray[np.uint8] | str | os.PathLike[str]
"""(H, W, 3) uint8 RGB, or the path of an image file."""
IntrinsicsLike = Intrinsics | NDArray[Any] | Sequence[float] | Sequence[Sequence[float]] | str | os.PathLike[str]
"""``handviz.Intrinsics``, K (3, 3), (fx, fy, cx, cy), or the path of a camera file."""

SourceLike = str | os.PathLike[str] | Iterable[NDArray[np.uint8]]
"""The path of a clip or folder, "camera:0", or uint8 RGB arrays (H, W, 3)."""


class LoadOptions(TypedDict, total=False):
    """The options of ``handviz.load``, for functions that pass them on."""

    device: Device
    intrinsics: IntrinsicsLike | None
    max_hands: int | None
    detector: DetectorChoice
    side: HandednessSetting
    hand_length_mm: float | None
    model_dir: str | os.PathLike[str] | None


@dataclass(frozen=True, eq=False, repr=False)
class Hand:
    """One reconstructed hand in the camera's axes: x right, y down, z forward (away from the camera).

    Lengths are in metres and standard deviations in millimetres. ``vertices_m + wrist_camera_m`` are points in the
    camera frame. The arrays are float64 (``faces`` int32), belong to the caller and may be changed: ``save`` writes
    their present values.
    """

    handedness: Handedness
    """The person's true hand, "left" or "right", in an image that is not mirrored."""
    score: float
    """The detector's confidence, 0 to 1."""
    vertices_m: FloatArray
    """(V, 3) mesh, the wrist at 0; V is 778 for the open hand and MANO. Left hands are not mirrored."""
    keypoints_m: FloatArray
    """(21, 3) wrist, thumb 1-4, index 1-4, middle 1-4, ring 1-4, little 1-4, as in MediaPipe; the wrist is at 0."""
    vertex_std_mm: FloatArray
    """(V,) standard deviation: root of the summed variances of x, y and z, the expected distance from the truth; NaN
    if the model predicts no uncertainty (``model.spec.provides``)."""
    keypoint_std_mm: FloatArray
    """(21,) as ``vertex_std_mm``."""
    keypoints_px: FloatArray
    """(21, 2) projection of the keypoints, pixels; the centre of the first pixel is (0.5, 0.5)."""
    faces: NDArray[np.int32]
    """(F, 3) triangles of ``vertices_m``, counter-clockwise seen from outside, for left hands too."""
    wrist_camera_m: FloatArray
    """(3,) wrist in the camera frame: as metric as the intrinsics and the hand's size are."""
    wrist_std_m: FloatArray
    """(3,) its standard deviation along each axis: intrinsics, hand size and fit together; NaN if unknown."""
    camera_from_wrist: FloatArray
    """(3, 3) rotation of the hand: from the hand model's rest frame to the camera's axes."""
    intrinsics: Intrinsics
    """Of the image: ``intrinsics.matrix`` is K (3, 3), ``intrinsics.origin`` says whether it was assumed."""
    model: str
    """The id of the model."""
    hand_model: str
    """Fingerprint of the hand model that the vertices belong to; empty: the open hand."""
    track_id: str = ""
    """In clips the name of the same hand in all frames, such as "right" or "right_2" (one name for each side that it is
    taken for); empty in single images."""
    shape: ShapePosterior | None = None
    """What ``covariance``, ``sample`` and ``contradicts`` come from; None if the model predicts no uncertainty."""
    heatmaps: Heatmaps | None = None
    """Maps (21, S, S) of the keypoints over the model's crop, and where in the image they lie; None if the model
    predicts none."""
    steps: "tuple[Hand, ...]" = ()
    """The hand as the model alone has it before its first iteration and after each, without uncertainty; none of a
    model that does not iterate."""

    @property
    def contradicts(self) -> bool:
        """Whether the network and MediaPipe's landmarks contradict each other, so that the hand may be wrong."""
        return self.shape is not None and self.shape.contradicts

    def covariance(self) -> FloatArray:
        """Return the covariance (63, 63), mm2, of x, y and z of the 21 keypoints in the camera's axes.

        It is that of shape and pose: of points after the best rotation, scaling and translation of the whole hand,
        whose own uncertainty is not in it (``wrist_std_m``). The diagonal belongs to ``keypoint_std_mm``. HandvizError
        if the model predicts no uncertainty.
        """
        return _floats(self._known_shape().covariance_m2) * MILLIMETRES_PER_METRE**2

    def sample(self, count: int, seed: int | None = None) -> FloatArray:
        """Draw meshes (``count``, V, 3), metres, that are as plausible as ``vertices_m``, in the same frame.

        ``seed``: the same seed draws the same hands; None: others every time. HandvizError if the model predicts no
        uncertainty or the count is below 1.
        """
        if count < 1:
            raise HandvizError(f"{count} hands cannot be drawn: ask for 1 or more", ErrorCode.BAD_VALUE)
        return _floats(
            self._known_shape().sampled(self.vertices_m, self.keypoints_m, count, np.random.default_rng(seed))
        )

    def _known_shape(self) -> ShapePosterior:
        if self.shape is None:
            raise HandvizError(
                f"the model {self.model} predicts no uncertainty: choose another one", ErrorCode.NOT_PROVIDED
            )
        return self.shape

    @property
    def uncertainty(self) -> UncertaintyKind:
        """What the standard deviations are: "per_vertex"; "constant", one for all vertices; or "none", all are NaN."""
        return uncertainty_kind(self.vertex_std_mm if np.isfinite(self.vertex_std_mm).all() else None)

    def save(self, path: str | os.PathLike[str], *, colour: Literal["uncertainty", "plain"] = "uncertainty") -> Path:
        """Write the mesh as .glb, .obj or .ply, as ``handviz reconstruct`` does; return the path.

        PLY has ``vertex_std_mm`` for every vertex. PLY and OBJ keep the camera's axes, GLB has glTF's (y up, z towards
        the viewer). HandvizError if the suffix is another one or the file cannot be written.
        """
        file = Path(path)
        vertices = usual_vertices(file.suffix.lower(), colour)
        export_mesh(file, self._mesh(), colour=colour, vertices=vertices)
        return file

    def _mesh(self) -> HandMesh:
        """Return the record that exports take, with the present values of all fields."""
        has_std = bool(np.isfinite(self.vertex_std_mm).all() and np.isfinite(self.keypoint_std_mm).all())
        return HandMesh(
            handedness=self.handedness,
            detection_score=self.score,
            model=model_spec(self.model).id,
            vertices_m=self.vertices_m,
            vertex_std_mm=self.vertex_std_mm if has_std else None,
            keypoints_m=self.keypoints_m,
            keypoint_std_mm=self.keypoint_std_mm if has_std else None,
            camera_from_wrist=self.camera_from_wrist,
            wrist_camera_m=self.wrist_camera_m,
            intrinsics=self.intrinsics,
            hand_model=self.hand_model,
        )

    def __repr__(self) -> str:
        """Return handedness, score, uncertainty and position in a line."""
        x, y, z = self.wrist_camera_m
        track = f" {self.track_id!r}" if self.track_id else ""
        mean_mm = self.vertex_std_mm.mean()
        uncertainty = "" if math.isnan(mean_mm) else f" ± {mean_mm:.1f} mm"
        return (
            f"<Hand{track}: {self.handedness}, score {self.score:.2f}, {len(self.vertices_m)} vertices"
            f"{uncertainty}, wrist at ({x:.3f}, {y:.3f}, {z:.3f}) m>"
        )


@dataclass(frozen=True, eq=False, repr=False)
class TrackedFrame:
    """One frame of a clip, and the hands in it."""

    number: int
    """Counts from 0, skipped frames included."""
    time_ms: float
    """Time since the first frame, in milliseconds: the clip's own times, also of clips of variable rate."""
    hands: list[Hand]
    """``track_id`` names the same hand in all frames."""
    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    name: str = ""
    """The file's name, in a folder of images."""

    def __repr__(self) -> str:
        """Return number, time and hands in a line."""
        return f"<TrackedFrame {self.number} at {self.time_ms:.1f} ms: {self.hands}>"


class Model:
    """A loaded model; ``handviz.load`` makes it. Use it in a ``with`` block, or ``close`` it.

    A model belongs to one thread at a time; several models may run beside each other.
    """

    def __init__(
        self, request: ImageRequest, *, device: Device = "auto", max_hands_of_clips: int | None = None
    ) -> None:
        """Begin to load; HandvizError if there is no such model, device or hand model."""
        check_device(device)
        self.spec: ModelSpec = model_spec(request.model)
        """What the registry says of this model."""
        self._request, self._max_hands_of_clips = request, max_hands_of_clips or request.max_hands
        # A file that is none is refused here and not by the first image.
        hand_model(request.hand_model)
        self._resources = ExitStack()
        self._networks = ModelCache(LoadContext(request.model_dir, request.hand_model, device))
        self._resources.callback(self._networks.close)
        self._images: Pipeline | None = None
        self._is_closed = False

    def __call__(self, image: ImageLike) -> list[Hand]:
        """Return the hands of an image, best first; an empty list if there are none.

        ``image``: uint8 RGB (H, W, 3), or the path of an image file, which is rotated by its EXIF. HandvizError says
        what is wrong with an array of another type or shape, or with a file. An array in OpenCV's order (BGR) cannot be
        told from RGB and gives worse hands: convert it by ``image[:, :, ::-1]``. Arrays may be views and read-only.
        """
        pipeline = self.load()
        if isinstance(image, str | os.PathLike):
            frame = image_frame(Path(image))
        else:
            frame = Frame(0, checked_rgb(image), now_ms())
        result, _ = reconstructed(pipeline, frame, self._request.camera)
        return [_public(hand, pipeline.template) for hand in result.hands]

    def track(
        self,
        source: SourceLike,
        *,
        smoothing: float = 0.0,
        smoothing_kind: SmoothingKind = "kalman",
        every: int = 1,
        fps: float = 30.0,
    ) -> Generator[TrackedFrame, None, None]:
        """Yield the frames of a clip with their hands, whose ``track_id`` is the same in all frames.

        ``source``: the path of a clip; a folder of frames, in natural order of their names; a camera, such as
        "camera:0"; or an iterable of uint8 RGB arrays (H, W, 3). ``smoothing`` is from 0 (off) to 1. ``every``: only
        every N-th frame. ``fps``: of frames without times of their own, in folders and iterables.

        Leaving the loop, or ``close`` of the generator, closes clip and detector. With the first frame comes a
        HandvizError if the source cannot be opened, later one if a frame cannot be read.
        """
        if not (0 <= smoothing <= 1 and smoothing_kind in SMOOTHING_KINDS and every >= 1 and 0 < fps < math.inf):
            raise HandvizError(
                f"smoothing is a number from 0 to 1, its kind {' or '.join(SMOOTHING_KINDS)}, every at least 1 and fps "
                "above 0: correct the value",
                ErrorCode.BAD_VALUE,
            )
        self._check_open()
        opened = partial(
            self.open_pipeline,
            video=True,
            smoothing=smoothing,
            smoothing_kind=smoothing_kind,
            max_hands=self._max_hands_of_clips,
        )
        return self._tracked(source, opened, every, fps)

    def load(self) -> Pipeline:
        """Load network and detector for images unless they are loaded; HandvizError if they cannot be."""
        self._check_open()
        if self._images is None:
            self._images = self._resources.enter_context(self.open_pipeline(video=False))
        return self._images

    @property
    def networks(self) -> Mapping[NetworkRole, NetworkFile]:
        """Name, sha256 and state of the files of ``network`` and ``detector``, which are loaded unless they are.

        The state is "shipped", "changed" (the name is of a file that handviz ships, the content is not), or "own".
        """
        return self.load().networks

    def open_pipeline(
        self,
        *,
        video: bool,
        smoothing: float = 0.0,
        smoothing_kind: SmoothingKind = "kalman",
        max_hands: int | None = None,
    ) -> Pipeline:
        """Return a pipeline on this model's network, to be closed before the model.

        It is for programs that need all of a ``FrameResult``; ``video``: frames follow each other, of which
        ``max_hands`` are followed.
        """
        self._check_open()
        settings, config = self._request.settings()
        most = max_hands or settings.max_hands
        return Pipeline(
            dataclasses.replace(settings, smoothing=smoothing, smoothing_kind=smoothing_kind, max_hands=most),
            dataclasses.replace(config, video=video),
            self._networks,
        )

    def close(self) -> None:
        """Free the network and the detector; may be called twice."""
        self._is_closed = True
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        """Return id and state in a line."""
        files = self._images.networks.items() if self._images is not None else ()
        changed = "".join(f", {role} changed" for role, file in files if file.state == "changed")
        return f"<Model {self.spec.id}{changed}{', closed' if self._is_closed else ''}>"

    def _check_open(self) -> None:
        if self._is_closed:
            raise ValueError("this model is closed: load it again by handviz.load")

    def _tracked(
        self, source: SourceLike, open_pipeline: Callable[[], Pipeline], every: int, fps: float
    ) -> Generator[TrackedFrame, None, None]:
        track_names = TrackNames()
        with closing(_opened(source, fps)) as opened, open_pipeline() as pipeline:
            for frame in timed_frames(opened, every, fps):
                result, _ = reconstructed(pipeline, frame, self._request.camera)
                names = track_names.names(result.hands)
                template = pipeline.template
                hands = [_public(hand, template, name) for hand, name in zip(result.hands, names, strict=True)]
                yield TrackedFrame(frame.number, frame.time_ms or 0.0, hands, frame.image, frame.name)


def load(
    model: str | ModelSpec = "final",
    *,
    device: Device = "auto",
    intrinsics: IntrinsicsLike | None = None,
    max_hands: int | None = None,
    detector: DetectorChoice = "handviz",
    side: HandednessSetting = "detected",
    hand_length_mm: float | None = None,
    model_dir: str | os.PathLike[str] | None = None,
) -> Model:
    """Load a model; HandvizError names what is wrong with a value or a file.

    ``model``: an id of ``handviz.list_models()``. ``device``: "auto" (the graphics card if ONNX Runtime can use one),
    "cpu", or "cuda", which is an error where CUDA cannot be used. ``intrinsics`` of the images, in pixels, the centre
    of the first pixel at (0.5, 0.5): K (3, 3), (fx, fy, cx, cy), ``handviz.Intrinsics``, or the path of a camera file;
    None assumes a field of view of 60 degrees over the longer side. ``max_hands``: None finds 10 in an image and 2 in
    a clip. ``detector``: "handviz" runs MediaPipe's networks in ONNX Runtime, "mediapipe" is MediaPipe's own library.
    ``side``: "left" or "right", where the detector's handedness is wrong. ``hand_length_mm``: crease of the
    wrist to tip of the middle finger, which sets the metric scale. ``model_dir``: a folder with ONNX files of your own.
    """
    request = ImageRequest(
        model_dir=MODELS if model_dir is None else Path(model_dir),
        model=model_spec(str(model)).id,
        camera=_camera(intrinsics),
        hand_size=UNMEASURED if hand_length_mm is None else HandSize("length", hand_length_mm),
        max_hands=_hand_count(max_hands, MAX_HANDS_OF_IMAGES),
        detector=_one_of("detector", DetectorChoice, detector),
        side=_one_of("side", HandednessSetting, side),
    )
    loaded = Model(request, device=device, max_hands_of_clips=_hand_count(max_hands, MAX_HANDS_OF_CLIPS))
    try:
        loaded.load()
    except BaseException:
        loaded.close()
        raise
    return loaded


def reconstruct(image: ImageLike, model: str | ModelSpec = "final", **options: Unpack[LoadOptions]) -> list[Hand]:
    """Return the hands of one image, as ``handviz.load(model, **options)(image)``; for several images load once."""
    with load(model, **options) as loaded:
        return loaded(image)


def track(
    source: SourceLike,
    model: str | ModelSpec = "final",
    *,
    smoothing: float = 0.0,
    every: int = 1,
    fps: float = 30.0,
    **options: Unpack[LoadOptions],
) -> Generator[TrackedFrame, None, None]:
    """Yield the frames of a clip with their hands, as ``handviz.load(model, **options).track(source)``.

    The model is loaded with the first frame, and closed when the loop ends.
    """
    with load(model, **options) as loaded:
        yield from loaded.track(source, smoothing=smoothing, every=every, fps=fps)


def _public(hand: HandMesh, template: HandTemplate, track_id: str = "") -> Hand:
    """Return the public record of a hand, with arrays of its own; ``template``: the hand model of its mesh."""
    wrist_std_m = np.full(3, math.nan) if hand.wrist_std_m is None else hand.wrist_std_m
    return Hand(
        handedness=hand.handedness,
        score=hand.detection_score,
        vertices_m=_floats(hand.vertices_m),
        keypoints_m=_floats(hand.keypoints_m),
        vertex_std_mm=_floats_or_nan(hand.vertex_std_mm, len(hand.vertices_m)),
        keypoint_std_mm=_floats_or_nan(hand.keypoint_std_mm, len(hand.keypoints_m)),
        keypoints_px=_floats(hand.keypoints_px),
        faces=np.array(faces_for(hand.handedness, template.faces), dtype=np.int32, order="C"),
        wrist_camera_m=_floats(hand.wrist_camera_m),
        wrist_std_m=_floats(wrist_std_m),
        camera_from_wrist=_floats(hand.camera_from_wrist),
        intrinsics=hand.intrinsics,
        model=hand.model,
        hand_model=hand.hand_model,
        track_id=track_id,
        shape=hand.shape,
        heatmaps=None
        if hand.heatmaps is None
        else dataclasses.replace(hand.heatmaps, maps=_floats(hand.heatmaps.maps)),
        steps=tuple(_public(step, template) for step in hand.steps),
    )


def _floats(values: NDArray[np.floating]) -> FloatArray:
    return np.array(values, dtype=np.float64)


def _floats_or_nan(values: NDArray[np.floating] | None, count: int) -> FloatArray:
    return np.full(count, np.nan) if values is None else _floats(values)


def _opened(source: SourceLike, fps: float) -> Source:
    if isinstance(source, str | os.PathLike):
        return open_source(os.fspath(source))
    return ArraySource(source, fps)


def _hand_count(max_hands: int | None, default: int) -> int:
    if max_hands is None:
        return default
    if not isinstance(max_hands, int | np.integer) or max_hands < 1:
        raise HandvizError(f"max_hands is a whole number from 1, not {max_hands!r}", ErrorCode.BAD_VALUE)
    return int(max_hands)


def _one_of(name: str, choices: Any, value: T) -> T:
    """Return a value that is one of a ``Literal``'s; HandvizError if it is none of them."""
    if value not in get_args(choices):
        raise HandvizError(f"{name} is one of {', '.join(get_args(choices))}, not {value!r}", ErrorCode.BAD_VALUE)
    return value


def _camera(intrinsics: IntrinsicsLike | None) -> ImageCamera:
    """Return the camera of the images; HandvizError if the value is no intrinsics."""
    if intrinsics is None:
        return ImageCamera()
    if isinstance(intrinsics, Intrinsics):
        return ImageCamera(known=intrinsics)
    if isinstance(intrinsics, str | os.PathLike):
        return ImageCamera(read_camera_file(Path(intrinsics)))
    return ImageCamera(known=intrinsics_from_numbers(intrinsics))
