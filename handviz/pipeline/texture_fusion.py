"""Textures of hands: the texture net's colours, fused over the frames of a stream.

What is fused is the albedo, since light does not rotate with the hand; it is shown in the present frame's light.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import apply_affine, invert_affine
from handviz.core.network_files import loaded_file
from handviz.core.onnx_runtime import check_finite, metadata_of, open_session, warm_up
from handviz.core.paths import RESTORE
from handviz.core.records import (
    CROP_SIZE,
    DEFAULT_CROP,
    FloatArray,
    HandCrop,
    Handedness,
    HandMesh,
    HandTexture,
    NetworkFile,
)
from handviz.core.visibility import self_visible
from handviz.detection.crop import crop_hand, mesh_in_crop
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.template import HandTemplate
from handviz.models.onnx_contract import FINGERPRINT_KEY, float_images
from handviz.models.reconstructor import LoadedModel
from handviz.rendering.hand_shape import VertexNormals

INPUTS = ("image", "points", "is_open")
OUTPUTS = ("vertex_rgb", "vertex_albedo", "vertex_visible")
HOW_TO_GET = f"{RESTORE}, or make it with 'python -m handviz texture train' and 'texture export'"
REFERENCE_STD_MM = 10.0
"""Standard deviation of a vertex at which a frame's colour has the weight e^-1/2: it may be a neighbour's."""
MAX_WEIGHT = 30.0
"""Highest weight of a vertex, in frames: later frames still change its colour."""
INFERRED_WEIGHT = 0.25
"""Weight of the inferred colour, in frames."""
LIGHT_RANGE = (0.2, 3.0)
"""Of the image's light, relative to uniform light."""
DARKEST = 0.02
MAX_CACHED = 8


class HandTexturer(Protocol):
    """Anything that predicts textures of hands."""

    file: NetworkFile

    def texture(
        self, crops: Sequence[HandCrop], meshes: Sequence[FloatArray], image_size: tuple[int, int]
    ) -> list[HandTexture]:
        """Return one texture per hand, in order; its vertices (V, 3) lie in the crop: half-sides, depth from the wrist.

        ``image_size`` (width, height) is that of the image behind the crops.
        """
        ...


def inside_image(points: FloatArray, crop: HandCrop, image_size: tuple[int, int]) -> FloatArray:
    """Return 1 (V,) where points (V, 3) of a crop lie inside both the crop and the image, else 0."""
    in_image = apply_affine(invert_affine(crop.crop_from_image), (points[:, :2] + 1) * (CROP_SIZE / 2))
    inside = ((in_image >= 0) & (in_image <= image_size)).all(axis=1) & (np.abs(points[:, :2]) <= 1).all(axis=1)
    return np.asarray(inside, np.float32)


class Texturer:
    """The shipped texture net, checked and warmed up."""

    def __init__(self, path: Path, template: HandTemplate) -> None:
        """Load the file; HandvizError if it is missing, damaged, or made for another hand model."""
        self._path, self._faces, self._count = path, template.faces, template.vertex_count
        self._session = open_session(path, HOW_TO_GET)
        self._check(template)
        warm_up(self._path, HOW_TO_GET, self._session, self._use)
        self.file: NetworkFile = loaded_file(path)
        """Its checksum, and whether it is the one that handviz ships."""

    def texture(
        self, crops: Sequence[HandCrop], meshes: Sequence[FloatArray], image_size: tuple[int, int]
    ) -> list[HandTexture]:
        """Return one texture per hand, in order; HandvizError if the network's output is not finite."""
        if not crops:
            return []
        images = float_images(crops)
        points = np.stack(meshes)
        rgb, albedo, visible = self.colours(images, points)
        check_finite(self._path, dict(zip(OUTPUTS, (rgb, albedo, visible), strict=True)), HOW_TO_GET)
        textures = []
        for index, crop in enumerate(crops):
            seen = visible[index] * inside_image(points[index], crop, image_size)
            textures.append(HandTexture(rgb[index], albedo[index], seen, seen))
        return textures

    def colours(self, images: FloatArray, points: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return rgb (B, V, 3), albedo (B, V, 3), visibility (B, V) of images (B, 3, 224, 224), points (B, V, 3)."""
        is_open = np.stack([self_visible(hand, self._faces) for hand in points]).astype(np.float32)
        values = (images, points.astype(np.float32), is_open)
        outputs = self._session.run(list(OUTPUTS), dict(zip(INPUTS, values, strict=True)))
        rgb, albedo, visible = cast(list[FloatArray], outputs)
        return rgb, albedo, visible * is_open

    def _use(self, session: onnxruntime.InferenceSession) -> None:
        """Use this session from now on; run it for one hand and for two, which warms it up."""
        self._session = session
        for batch in (1, 2):
            images = np.zeros((batch, 3, CROP_SIZE, CROP_SIZE), np.float32)
            outputs = self.colours(images, np.zeros((batch, self._count, 3)))
            check_finite(self._path, dict(zip(OUTPUTS, outputs, strict=True)), HOW_TO_GET)

    def _check(self, template: HandTemplate) -> None:
        found = metadata_of(self._path, self._session, HOW_TO_GET).get(FINGERPRINT_KEY, "")
        if found != template.fingerprint:
            raise HandvizError(
                f"{self._path} is not a texture net of the hand model {template.name} "
                f"({found[:12] or 'none'}, expected {template.fingerprint[:12]}); {HOW_TO_GET}",
                ErrorCode.MODEL_MISMATCH,
            )
        count = self._count
        expected = dict(zip(INPUTS, ([3, CROP_SIZE, CROP_SIZE], [count, 3], [count]), strict=True))
        expected |= dict(zip(OUTPUTS, ([count, 3], [count, 3], [count]), strict=True))
        offered = [*self._session.get_inputs(), *self._session.get_outputs()]
        shapes = {item.name: list(item.shape)[1:] for item in offered if item.type == "tensor(float)"}
        for name, shape in expected.items():
            if shapes.get(name) != shape:
                raise HandvizError(
                    f"{self._path}: {name} is {shapes.get(name, 'missing')}, expected {shape}; {HOW_TO_GET}",
                    ErrorCode.MODEL_FOREIGN,
                )


def frame_weight(visible: FloatArray, facing: FloatArray, std_mm: FloatArray | None) -> FloatArray:
    """Return the weights, 0 to 1, of a frame's colours, all (V,): by visibility, by the angle of view (``facing`` is
    the cosine between normal and line of sight), and by the standard deviation of the position, if there is one."""
    certain = np.exp(-0.5 * ((0.0 if std_mm is None else std_mm) / REFERENCE_STD_MM) ** 2)
    return visible**2 * np.clip(facing, 0, 1) ** 2 * certain


@dataclass(eq=False)
class FusedTexture:
    """The fused colours of one hand."""

    albedo: FloatArray
    """(V, 3)"""
    weight: FloatArray
    """(V,) in frames"""

    def add(self, texture: HandTexture, weight: FloatArray) -> None:
        """Add a frame's colours with their weights (V,)."""
        total = self.weight + weight
        fraction = weight / np.maximum(total, 1e-9)
        self.albedo = self.albedo + fraction[:, None] * (texture.albedo - self.albedo)
        self.weight = np.minimum(total, MAX_WEIGHT)

    def shown(self, texture: HandTexture) -> HandTexture:
        """Return the frame's texture with the fused colours in it."""
        known = self.weight / (self.weight + INFERRED_WEIGHT)
        albedo = texture.albedo + known[:, None] * (self.albedo - texture.albedo)
        light = np.clip(texture.rgb / np.maximum(texture.albedo, DARKEST), *LIGHT_RANGE)
        return replace(
            texture,
            rgb=np.clip(texture.rgb + known[:, None] * (albedo * light - texture.rgb), 0, 1),
            albedo=albedo,
            seen=np.maximum(texture.visible, known),
        )


class TextureCache:
    """The fused textures of a stream's hands, by ``track_id`` and side: a hand that returns gets its own back."""

    def __init__(self, faces: NDArray[np.int32], vertex_count: int) -> None:
        self._normals = VertexNormals(faces, vertex_count)
        self._textures: dict[tuple[int, Handedness], FusedTexture] = {}

    def forget(self) -> None:
        """Remove all colours."""
        self._textures = {}

    def fuse(self, hands: Sequence[HandMesh]) -> tuple[HandMesh, ...]:
        """Return the next frame's hands with the fused colours; those without texture or number stay."""
        return tuple(self._fused(hand) for hand in hands)

    def _fused(self, hand: HandMesh) -> HandMesh:
        texture, key = hand.texture, (hand.track_id, hand.handedness)
        if texture is None or hand.track_id == 0:
            return hand
        # Of a hand whose side is mistaken for a while the colours lie elsewhere on the mesh.
        fused_texture = self._textures.pop(key, None)
        if fused_texture is None or len(fused_texture.albedo) != len(texture.albedo):
            fused_texture = FusedTexture(texture.albedo, np.zeros(len(texture.albedo)))
        fused_texture.add(texture, frame_weight(texture.visible, self._facing(hand), hand.vertex_std_mm))
        self._textures[key] = fused_texture
        if len(self._textures) > MAX_CACHED:
            del self._textures[next(iter(self._textures))]
        return replace(hand, texture=fused_texture.shown(texture))

    def _facing(self, hand: HandMesh) -> FloatArray:
        """Return the cosine (V,) between outward normals and the line to the camera."""
        normals = self._normals(hand.vertices_m)
        if hand.handedness == "left":
            normals = -normals
        towards = -(hand.vertices_m + hand.wrist_camera_m)
        return np.einsum("vc,vc->v", normals, towards) / np.linalg.norm(towards, axis=1)


def with_textures_of(shown: Sequence[HandMesh], others: Sequence[HandMesh]) -> tuple[HandMesh, ...]:
    """Return another model's hands with the shown model's textures, where the vertices correspond."""
    return tuple(
        replace(hand, texture=own.texture) if hand.hand_model == own.hand_model else hand
        for hand, own in zip(others, shown, strict=True)
    )


class FrameTextures:
    """Textures of a pipeline's hands; the texture net is loaded with the first. All but ``want`` belong to one thread.

    What failed is not tried again until textures are wanted anew.
    """

    def __init__(self, path: Path, *, is_wanted: bool) -> None:
        """``path``: the texture net's file."""
        self._path, self._is_wanted = path, is_wanted
        open_hand = load_open_hand()
        self._cache = TextureCache(open_hand.faces, open_hand.vertex_count)
        self._texturer: HandTexturer | None = None
        self._lock = threading.Lock()
        self._error = ""

    @property
    def error(self) -> str:
        """Why there are no textures although they are wanted; mostly empty."""
        with self._lock:
            return self._error

    @property
    def file(self) -> NetworkFile | None:
        """The texture net's file, None before it was loaded."""
        return None if self._texturer is None else self._texturer.file

    def want(self, is_wanted: bool, /) -> None:
        """Note whether textures are wanted from the next frame on; if that changes, what failed is tried again."""
        with self._lock:
            if is_wanted != self._is_wanted:
                self._is_wanted, self._error = is_wanted, ""

    def of(
        self, image: NDArray[np.uint8], crops: Sequence[HandCrop], hands: Sequence[HandMesh], model: LoadedModel
    ) -> list[HandTexture]:
        """Return one texture for each hand of an image (H, W, 3); none if they cannot be had (see ``error``)."""
        if self.error or not crops:
            return []
        try:
            return self._of(image, crops, hands, model)
        except HandvizError as error:
            with self._lock:
                self._error = f"Without texture: {error}" if self._is_wanted else ""
            return []

    def fuse(self, hands: Sequence[HandMesh]) -> tuple[HandMesh, ...]:
        """Return the next frame's hands of a stream with the fused colours."""
        return self._cache.fuse(hands)

    def forget(self) -> None:
        """Remove the fused colours."""
        self._cache.forget()

    def _of(
        self, image: NDArray[np.uint8], crops: Sequence[HandCrop], hands: Sequence[HandMesh], model: LoadedModel
    ) -> list[HandTexture]:
        if model.template.name != "open_hand":
            raise HandvizError(
                f"textures are made for the hand that handviz ships, not for {model.template.name}",
                ErrorCode.MODEL_MISMATCH,
            )
        if model.spec.crop != DEFAULT_CROP:
            crops = [crop_hand(image, crop.detection) for crop in crops]
        self._texturer = self._texturer or Texturer(self._path, model.template)
        points = [mesh_in_crop(hand, crop) for hand, crop in zip(hands, crops, strict=True)]
        height, width = image.shape[:2]
        return self._texturer.texture(crops, points, (width, height))
