"""The arguments of commands that reconstruct images."""

import argparse
from pathlib import Path
from typing import get_args

from handviz.core.camera_files import read_camera_file
from handviz.core.camera_model import UNMEASURED, CameraModel, HandSize
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import DEFAULT_FIELD_OF_VIEW_DEG, FOCAL_STD_FRACTIONS
from handviz.core.paths import MODELS
from handviz.core.records import VARIANTS, HandednessSetting, Intrinsics
from handviz.hand_models.choice import add_hand_model_option
from handviz.pipeline.image_request import ImageCamera, ImageRequest

MAX_HANDS_OF_IMAGES = 10


def add_image_arguments(parser: argparse.ArgumentParser, *, mesh: str) -> None:
    """Add outputs and model of an image; ``mesh`` is the default of the mesh format."""
    parser.add_argument("--model", dest="variant", choices=VARIANTS, default="final", help="the model to use")
    parser.add_argument("--mesh", choices=("ply", "obj", "glb", "none"), default=mesh, help="(%(default)s)")
    parser.add_argument(
        "--colour",
        choices=("uncertainty", "plain", "texture"),
        default="uncertainty",
        help="texture is a PNG around the dense mesh in glb and obj, and colours at vertices in ply",
    )
    parser.add_argument(
        "--mesh-vertices",
        choices=("model", "display"),
        help="the hand model's own 778 or the 1609 that are drawn (model for ply and for obj without texture)",
    )
    _add_camera_and_hand(parser)
    parser.add_argument("--max-hands", type=count, metavar="N", help="10 in images, 2 in clips")
    parser.add_argument(
        "--side",
        choices=get_args(HandednessSetting),
        default="detected",
        help="which hand is which, where the detector gets it wrong (%(default)s)",
    )
    parser.add_argument("--model-dir", type=Path, default=MODELS, help="folder of the ONNX files")
    add_hand_model_option(parser)
    parser.add_argument(
        "--network-camera", action="store_true", help="do not let the detector's keypoints correct the network's camera"
    )
    parser.add_argument(
        "--network-pose", action="store_true", help="do not let MediaPipe's landmarks correct the network's pose"
    )


def image_request(arguments: argparse.Namespace) -> ImageRequest:
    """Return the request; raise HandvizError for an invalid camera matrix, camera or hand size."""
    return ImageRequest(
        model_dir=arguments.model_dir,
        hand_model=arguments.hand_model,
        variant=arguments.variant,
        camera=_camera(arguments),
        hand_size=_hand_size(arguments),
        max_hands=arguments.max_hands or MAX_HANDS_OF_IMAGES,
        side=arguments.side,
        align_to_detector=not arguments.network_camera,
        correct_pose=not arguments.network_pose,
        compare=arguments.compare,
        mesh=arguments.mesh,
        colour=arguments.colour,
        mesh_vertices=arguments.mesh_vertices,
    )


def _add_camera_and_hand(parser: argparse.ArgumentParser) -> None:
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
        help="of these images, in pixels; or a file: a camera that handviz saved, or OpenCV's YAML",
    )
    hand = parser.add_mutually_exclusive_group()
    hand.add_argument("--hand-length", type=_millimetres, metavar="MM", help="crease of the wrist to middle fingertip")
    hand.add_argument("--hand-width", type=_millimetres, metavar="MM", help="palm across the four knuckles")
    parser.add_argument(
        "--hand-std", type=_millimetres, default=UNMEASURED.std_mm, metavar="MM", help="of that number (%(default)s)"
    )


def _hand_size(arguments: argparse.Namespace) -> HandSize:
    if arguments.hand_length:
        return HandSize("length", arguments.hand_length, arguments.hand_std)
    if arguments.hand_width:
        return HandSize("breadth", arguments.hand_width, arguments.hand_std)
    return UNMEASURED


def _camera(arguments: argparse.Namespace) -> ImageCamera:
    if arguments.focal_px:
        return ImageCamera(focal_px=arguments.focal_px, focal_std_fraction=FOCAL_STD_FRACTIONS["stated"])
    if arguments.field_of_view:
        return ImageCamera(CameraModel("angle", arguments.field_of_view))
    if not arguments.intrinsics:
        return ImageCamera()
    if len(arguments.intrinsics) == 1:
        return ImageCamera(read_camera_file(Path(arguments.intrinsics[0])))
    try:
        fx, fy, cx, cy = map(float, arguments.intrinsics)
    except ValueError as error:
        raise HandvizError("--intrinsics takes four numbers, FX FY CX CY, or one file", ErrorCode.BAD_VALUE) from error
    return ImageCamera(known=Intrinsics(fx, cx, cy, fy))


def number(text: str, low: float, high: float) -> float:
    """Parse a number between two bounds, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text} is not a number from {low:g} to {high:g}")
    return value


def count(text: str) -> int:
    """Parse a whole number from 1, for argparse."""
    return int(number(text, 1, 1e6))


def fraction(text: str) -> float:
    """Parse a number from 0 to 1, for argparse."""
    return number(text, 0.0, 1.0)


def _degrees(text: str) -> float:
    return number(text, 5.0, 170.0)


def _millimetres(text: str) -> float:
    return number(text, 0.5, 280.0)


def _positive(text: str) -> float:
    return number(text, 1.0, 1e6)
