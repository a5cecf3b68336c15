"""The arguments of commands that reconstruct images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from handviz.core.arguments import Count, Only, Option, between, number
from handviz.core.camera_files import read_camera_file
from handviz.core.camera_model import UNMEASURED, CameraModel, HandSize
from handviz.core.geometry import FOCAL_STD_FRACTIONS
from handviz.core.records import Intrinsics
from handviz.pipeline.image_request import ImageCamera, ImageRequest
from handviz.pipeline.settings import MAX_HANDS_OF_IMAGES

NO_MESH = ImageRequest()
CAMERA, HAND = "camera of the images", "size of the hand"
COMPARISON = ("compare", "compare_with")
AsRequested = Only(
    "model", "mesh", "colour", "mesh_vertices", "side", "detector", "model_dir", "hand_model", *COMPARISON
)


def _read_intrinsics(words: Sequence[str]) -> ImageCamera:
    """Return the camera of FX FY CX CY in pixels, or of one file; ValueError if the words are neither."""
    if len(words) == 1:
        return ImageCamera(read_camera_file(Path(words[0])))
    if len(words) != 4:
        raise ValueError("it takes four numbers, FX FY CX CY, or one file")
    fx, fy, cx, cy = map(number, words)
    return ImageCamera(known=Intrinsics(fx, cx, cy, fy))


@dataclass(frozen=True, kw_only=True)
class ImageArguments:
    """Outputs, model, camera and hand of images; what of ``ImageRequest`` is given in another form has own fields."""

    request: Annotated[ImageRequest, AsRequested] = NO_MESH
    field_of_view: Annotated[float | None, between(5, 170, "DEG"), Option(group=CAMERA)] = None
    """Degrees over the longer side; without any of these 60 are assumed."""
    focal_px: Annotated[float | None, between(1, 1e6, "F"), Option(group=CAMERA)] = None
    """Focal length in pixels, if it is known."""
    intrinsics: Annotated[
        ImageCamera | None, Option(metavar="FX FY CX CY", read=_read_intrinsics, words="*", group=CAMERA)
    ] = None
    """Of these images, in pixels; or a file: a camera that handviz saved, or OpenCV's YAML."""
    hand_length: Annotated[float | None, between(0.5, 280, "MM"), Option(group=HAND)] = None
    """Crease of the wrist to middle fingertip."""
    hand_width: Annotated[float | None, between(0.5, 280, "MM"), Option(group=HAND)] = None
    """Palm across the four knuckles."""
    hand_std: Annotated[float, between(0.5, 280, "MM")] = UNMEASURED.std_mm
    """Standard deviation of that number."""
    max_hands: Count | None = None
    """Hands looked for: 10 in images, 2 in clips."""
    network_camera: bool = False
    """Do not let the detector's keypoints correct the network's camera."""
    network_pose: bool = False
    """Do not let MediaPipe's landmarks correct the network's pose."""


def image_request(arguments: ImageArguments) -> ImageRequest:
    """Return the whole request; raise HandvizError for an invalid camera or hand size."""
    return replace(
        arguments.request,
        camera=_camera(arguments),
        hand_size=_hand_size(arguments),
        max_hands=arguments.max_hands or MAX_HANDS_OF_IMAGES,
        align_to_detector=not arguments.network_camera,
        correct_pose=not arguments.network_pose,
    )


def _hand_size(arguments: ImageArguments) -> HandSize:
    if arguments.hand_length:
        return HandSize("length", arguments.hand_length, arguments.hand_std)
    if arguments.hand_width:
        return HandSize("breadth", arguments.hand_width, arguments.hand_std)
    return UNMEASURED


def _camera(arguments: ImageArguments) -> ImageCamera:
    if arguments.focal_px:
        return ImageCamera(focal_px=arguments.focal_px, focal_std_fraction=FOCAL_STD_FRACTIONS["stated"])
    if arguments.field_of_view:
        return ImageCamera(CameraModel("angle", arguments.field_of_view))
    return arguments.intrinsics or ImageCamera()
