"""The texture net as an ONNX file: crops and the meshes in them -> colours of all vertices."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import onnxruntime

from handviz.core.errors import HandvizError
from handviz.core.geometry import apply_affine, invert_affine
from handviz.core.records import CROP_SIZE, FloatArray, HandCrop, HandTexture
from handviz.core.visibility import self_visible
from handviz.hand_models.template import HandTemplate
from handviz.models.onnx_checks import FINGERPRINT_KEY
from handviz.models.onnx_session import open_session, warm_up

INPUTS = ("image", "points", "is_open")
OUTPUTS = ("vertex_rgb", "vertex_albedo", "vertex_visible")
HOW_TO_GET = "restore it from the repository, or make it with 'python -m handviz texture train' and 'texture export'"


class HandTexturer(Protocol):
    """Anything that colours hands."""

    def texture(
        self, crops: Sequence[HandCrop], meshes: Sequence[FloatArray], image_size: tuple[int, int]
    ) -> list[HandTexture]:
        """One texture a hand, in order, whose vertices (V, 3) lie in its crop: half-sides, depth from the wrist.

        ``image_size`` (width, height) is that of the picture behind the crops.
        """
        ...


def inside_picture(points: FloatArray, crop: HandCrop, image_size: tuple[int, int]) -> FloatArray:
    """(V,) 1 where points (V, 3) of a crop lie inside both the crop and the picture, else 0."""
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

    def texture(
        self, crops: Sequence[HandCrop], meshes: Sequence[FloatArray], image_size: tuple[int, int]
    ) -> list[HandTexture]:
        """One texture a hand, in order; raises HandvizError if the network's answer is not finite."""
        if not crops:
            return []
        images = np.stack([crop.image.transpose(2, 0, 1) for crop in crops]).astype(np.float32, copy=False)
        points = np.stack(meshes)
        rgb, albedo, visible = self.colours(images, points)
        if not all(np.isfinite(values).all() for values in (rgb, albedo, visible)):
            raise HandvizError(f"{self._path.name} answered with colours that are not finite; {HOW_TO_GET}")
        textures = []
        for index, crop in enumerate(crops):
            seen = visible[index] * inside_picture(points[index], crop, image_size)
            textures.append(HandTexture(rgb[index], albedo[index], seen, seen))
        return textures

    def colours(self, images: FloatArray, points: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Images (B, 3, 224, 224) and points (B, V, 3) -> rgb (B, V, 3), albedo (B, V, 3), visibility (B, V)."""
        is_open = np.stack([self_visible(hand, self._faces) for hand in points]).astype(np.float32)
        values = (images, points.astype(np.float32), is_open)
        outputs = self._session.run(list(OUTPUTS), dict(zip(INPUTS, values, strict=True)))
        rgb, albedo, visible = cast(list[FloatArray], outputs)
        return rgb, albedo, visible * is_open

    def _use(self, session: onnxruntime.InferenceSession) -> None:
        """Run this session from now on; once for one hand and for two, which warms it up."""
        self._session = session
        for batch in (1, 2):
            images = np.zeros((batch, 3, CROP_SIZE, CROP_SIZE), np.float32)
            self.colours(images, np.zeros((batch, self._count, 3)))

    def _check(self, template: HandTemplate) -> None:
        found = self._session.get_modelmeta().custom_metadata_map.get(FINGERPRINT_KEY, "")
        if found != template.fingerprint:
            raise HandvizError(
                f"{self._path} is not a texture net of the hand model {template.name} "
                f"({found[:12] or 'none'}, expected {template.fingerprint[:12]}); {HOW_TO_GET}"
            )
        count = self._count
        wanted = dict(zip(INPUTS, ([3, CROP_SIZE, CROP_SIZE], [count, 3], [count]), strict=True))
        wanted |= dict(zip(OUTPUTS, ([count, 3], [count, 3], [count]), strict=True))
        offered = [*self._session.get_inputs(), *self._session.get_outputs()]
        shapes = {item.name: list(item.shape)[1:] for item in offered if item.type == "tensor(float)"}
        for name, shape in wanted.items():
            if shapes.get(name) != shape:
                raise HandvizError(
                    f"{self._path}: {name} is {shapes.get(name, 'missing')}, expected {shape}; {HOW_TO_GET}"
                )
