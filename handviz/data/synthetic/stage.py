"""Arms before a camera of known intrinsics, in any room and light: 640 x 480."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import intrinsics_from_field_of_view
from handviz.core.records import FloatArray
from handviz.data.synthetic import backgrounds, look
from handviz.data.synthetic.arm import ArmPoser, PosedArm, object_transform
from handviz.data.synthetic.develop import Curve, develop, exposure, sample_curve
from handviz.rendering.studio import HandStudio, clip_from_camera, open_studio
from handviz.rendering.studio_parts import TARGET, Lights, Material, Mesh, StudioImage, Surface

WIDTH, HEIGHT = 640, 480
FIELD_OF_VIEW_DEG = 60.0
SLEEVE_FROM_M = 0.05
"""Along the arm, from the wrist on."""


@dataclass(frozen=True, eq=False)
class Decor:
    """A room, its light, and the response of the camera in it."""

    room: NDArray[np.float32]
    """(480, 640, 3) brightness in 0..1"""
    lights: Lights
    curve: Curve
    things: tuple[Surface, ...] = ()
    """Objects that are there besides hands."""


class Stage:
    """A camera before which arms are drawn."""

    def __init__(self, studio: HandStudio) -> None:
        """Create the stage in a studio for images of 640 x 480."""
        self._studio = studio
        self.poser = ArmPoser()
        self.intrinsics = intrinsics_from_field_of_view(WIDTH, HEIGHT, FIELD_OF_VIEW_DEG)
        self._projection = clip_from_camera(np.eye(2, 3), self.intrinsics.matrix, (WIDTH, HEIGHT))

    def arm(self, material: Material, hand: PosedArm, matrix: FloatArray, position_m: FloatArray) -> Surface:
        """Return an arm with skin and sleeve; ``matrix`` (3, 3) contains the mirroring of left hands."""
        arm = self.poser.arm
        sleeve = (arm.vertices_m[:, 1] > SLEEVE_FROM_M) * 1.0
        mesh = Mesh(hand.vertices_m, hand.normals, arm.vertices_m, np.stack([arm.palm, arm.nail, sleeve], 1), arm.faces)
        return Surface(mesh, material, TARGET, object_transform(matrix, np.ones(3), position_m))

    def draw(self, surfaces: list[Surface], decor: Decor) -> StudioImage:
        """Draw arms and the room's things, without the room behind them."""
        return self._studio.draw([*decor.things, *surfaces], decor.lights, self._projection)

    def image(self, surfaces: list[Surface], decor: Decor, number: int, *, grain: float) -> NDArray[np.uint8]:
        """Render RGB (480, 640, 3); ``number`` seeds the camera's noise of standard deviation ``grain``."""
        return photograph(self.draw(surfaces, decor), decor, number, grain=grain)

    def visible(self, drawn: StudioImage, points_m: FloatArray, *, within_m: float) -> NDArray[np.bool_]:
        """Return whether the image shows points (N, 3) in the camera's axes, or something up to ``within_m`` before."""
        depth_m = drawn.depth_m
        scale = depth_m.shape[1] / WIDTH
        x, y = np.floor(self.intrinsics.project(points_m) * scale).astype(int).T
        inside = (x >= 0) & (x < depth_m.shape[1]) & (y >= 0) & (y < depth_m.shape[0]) & (points_m[:, 2] > 0)
        shown_m = depth_m[np.where(inside, y, 0), np.where(inside, x, 0)]
        return np.asarray(inside & (points_m[:, 2] < shown_m + within_m))


@contextmanager
def open_stage() -> Iterator[Stage]:
    """Open a stage with a studio of its own, which the end of the block frees."""
    studio = open_studio(look.textures(), (WIDTH, HEIGHT))
    try:
        yield Stage(studio)
    finally:
        studio.release()


def photograph(drawn: StudioImage, decor: Decor, number: int, *, grain: float) -> NDArray[np.uint8]:
    """Develop a drawing before its room: RGB (480, 640, 3), with noise of ``grain`` that ``number`` seeds."""
    image = develop(drawn, decor.room, decor.curve)
    noise = np.random.default_rng(number).normal(0, grain, image.shape)
    return (np.clip(image + noise, 0, 1) * 255).astype(np.uint8)


def sample_decor(rng: np.random.Generator, stage: Stage, shown: list[Surface]) -> Decor:
    """Draw a room and its light, exposed for the arms that are shown there at some time."""
    drawn_room = backgrounds.room(rng, WIDTH)[(WIDTH - HEIGHT) // 2 :][:HEIGHT]
    room = np.asarray(drawn_room / np.float32(255), np.float32)
    lights = look.sample_lights(rng, np.array([0.0, 0.0, 0.5]))
    drawn = stage.draw(shown, Decor(room, lights, Curve(1.0, 2.2)))
    return Decor(room, lights, sample_curve(rng, exposure(drawn, rng)))
