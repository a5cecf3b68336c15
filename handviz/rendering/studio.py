"""Rendering of training images: lit surfaces (arms, boxes, balls, cylinders) through the crop's own camera."""

import sys
from contextlib import ExitStack
from typing import Any, NamedTuple, Protocol, TypeVar

import moderngl
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import CROP_SIZE, FloatArray
from handviz.rendering.programs import load_program
from handviz.rendering.studio_parts import (
    BEHIND,
    SUPERSAMPLING,
    Lights,
    Material,
    Mesh,
    StudioImage,
    Surface,
    Textures,
)

SHADOW_SIZE, SHADOW_HALF_M = 320, 0.22
"""Pixels of the shadow map, and half the side of the cube around ``Lights.shadow_centre_m`` that it covers."""
CROP = (CROP_SIZE, CROP_SIZE)
NEAR_M, FAR_M = 0.03, 6.0


class Releasable(Protocol):
    """Any moderngl object."""

    def release(self) -> None:
        """Free it."""
        ...


Kept = TypeVar("Kept", bound=Releasable)


def clip_from_camera(
    crop_from_image: FloatArray, camera_matrix: FloatArray, size: tuple[int, int] = CROP
) -> FloatArray:
    """Return (4, 4) OpenGL projection of exactly the crop of a pinhole camera (3, 3); ``size`` is the crop's."""
    to_crop = np.vstack([crop_from_image, [0, 0, 1]]) @ camera_matrix
    width, height = size
    to_device = np.array([[2 / width, 0, -1], [0, -2 / height, 1], [0, 0, 1]]) @ to_crop
    projection = np.zeros((4, 4))
    projection[:2, :3] = to_device[:2]
    projection[2, 2] = (FAR_M + NEAR_M) / (FAR_M - NEAR_M)
    projection[2, 3] = -2 * FAR_M * NEAR_M / (FAR_M - NEAR_M)
    projection[3, :3] = to_device[2]
    return projection


def depth_from_buffer(buffer: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert depth buffer values in [0, 1] to metres along z."""
    device = buffer * 2 - 1
    return 2 * FAR_M * NEAR_M / ((FAR_M + NEAR_M) - device * (FAR_M - NEAR_M))


class _Arrays(NamedTuple):
    """Buffers of one topology and their vertex arrays: lit, depth only, and points."""

    vertices: moderngl.Buffer
    faces: moderngl.Buffer
    lit: moderngl.VertexArray
    depth: moderngl.VertexArray
    points: moderngl.VertexArray


def shadow_from_camera(lights: Lights) -> FloatArray:
    """Return the (4, 4) parallel projection of the cube around the shadow's centre along the first light."""
    towards = lights.directions[0]
    aside = np.cross(towards, np.eye(3)[np.abs(towards).argmin()])
    aside = aside / np.linalg.norm(aside)
    axes = np.stack([aside, np.cross(towards, aside), -towards])
    projection = np.eye(4)
    projection[:3, :3] = axes / SHADOW_HALF_M
    projection[2, :3] /= 2  # objects up to twice as far cast shadows too
    projection[:3, 3] = -projection[:3, :3] @ np.asarray(lights.shadow_centre_m)
    return projection


def _read_depth(texture: moderngl.Texture) -> NDArray[np.float32]:
    """Read metres along z (H, W), top row first."""
    return depth_from_buffer(np.frombuffer(texture.read(), np.float32).reshape(texture.size[::-1])[::-1])


class HandStudio:
    """Renderer with the buffers of one OpenGL context."""

    def __init__(self, context: moderngl.Context, textures: Textures, size: tuple[int, int] = CROP) -> None:
        """Create the buffers for images of ``size`` (width, height)."""
        self.context = context
        self._stack = ExitStack()
        self._program = self._keep(load_program(context, "studio"))
        self._depth_program = self._keep(load_program(context, "studio_depth"))
        self._load(textures)
        self._size = (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING)
        self._colour = self._keep(context.texture(self._size, 4))
        self._depth = self._keep(context.depth_texture(self._size))
        self._framebuffer = self._keep(context.framebuffer([self._colour], self._depth))
        self._coarse = self._keep(context.depth_texture(size))
        self._coarse_framebuffer = self._keep(context.framebuffer([], self._coarse))
        self._shadow = self._keep(context.depth_texture((SHADOW_SIZE, SHADOW_SIZE)))
        self._shadow.compare_func = "<="
        self._shadow_framebuffer = self._keep(context.framebuffer([], self._shadow))
        self._arrays: dict[tuple[int, int], _Arrays] = {}

    def _load(self, textures: Textures) -> None:
        noise, creases, prints = textures.noise, textures.creases, textures.prints
        count, height, width, _ = prints.shape
        self._textures = (
            self._keep(self.context.texture(noise.shape[::-1], 1, noise.tobytes(), alignment=1)),
            self._keep(self.context.texture(creases.shape[1::-1], 3, creases.tobytes(), alignment=1)),
            self._keep(self.context.texture_array((width, height, count), 3, prints.tobytes(), alignment=1)),
        )
        self._textures[1].repeat_x = self._textures[1].repeat_y = False
        for unit, name in enumerate(("noise", "creases", "prints", "shadow_map")):
            self._set(name, unit)

    def _keep(self, thing: Kept) -> Kept:
        self._stack.callback(thing.release)
        return thing

    def _arrays_of(self, mesh: Mesh) -> _Arrays:
        """Write the mesh into the buffers of its topology, which are cached."""
        key = (len(mesh.positions), len(mesh.faces))
        if key not in self._arrays:
            vertices = self._keep(self.context.buffer(reserve=len(mesh.positions) * 48))
            faces = self._keep(self.context.buffer(np.ascontiguousarray(mesh.faces, np.int32).tobytes()))
            layout = [(vertices, "3f 3f 3f 3f", "in_position", "in_normal", "in_rest", "in_marks")]
            shape = [(vertices, "3f 3f 12x 3f", "in_position", "in_normal", "in_marks")]
            lit = self._keep(self.context.vertex_array(self._program, layout, faces))
            depth = self._keep(self.context.vertex_array(self._depth_program, shape, faces))
            points = self._keep(self.context.vertex_array(self._program, layout))
            self._arrays[key] = _Arrays(vertices, faces, lit, depth, points)
        arrays = self._arrays[key]
        data = np.concatenate([mesh.positions, mesh.normals, mesh.rest, mesh.marks], axis=1)
        arrays.vertices.write(data.astype(np.float32).tobytes())
        arrays.faces.write(np.ascontiguousarray(mesh.faces, np.int32).tobytes())
        return arrays

    def _set(self, name: str, value: object) -> None:
        if name in self._program:
            self._program[name] = value

    def _write(self, name: str, values: FloatArray, program: moderngl.Program | None = None) -> None:
        uniform = (program or self._program)[name]
        assert isinstance(uniform, moderngl.Uniform)
        uniform.write(values.astype(np.float32).tobytes())

    def _set_matrix(self, name: str, matrix: FloatArray) -> None:
        self._write(name, matrix.T)

    def _set_material(self, material: Material) -> None:
        self._set("back_colour", material.back)
        self._set("palm_colour", material.palm)
        self._set("nail_colour", material.nail)
        self._set("cloth_colour", material.cloth)
        self._set("cloth_second_colour", material.cloth_second)
        self._set("cloth_stripes_per_m", material.cloth_stripes_per_m)
        self._set("mottle", material.mottle)
        self._set("gloss", material.gloss)
        self._set("sleeve_thickness_m", material.sleeve_thickness_m)
        self._set("noise_shift", material.noise_shift)
        self._set("crease_depth", material.crease_depth)
        self._set("print_layer", float(material.print_layer))
        self._set("print_is_body", float(material.print_is_body))
        self._set("print_repeats", material.print_repeats)

    def _set_lights(self, lights: Lights) -> None:
        self._write("light_direction", lights.directions)
        self._write("light_colour", lights.colours)
        self._set("ambient_above", tuple(lights.ambient_above))
        self._set("ambient_below", tuple(lights.ambient_below))
        self._set("above", tuple(lights.above))
        self._set("shadow_strength", lights.shadow_strength)
        self._set("shadow_softness", lights.shadow_softness_m / (2 * SHADOW_HALF_M))

    def draw(self, surfaces: list[Surface], lights: Lights, projection: FloatArray) -> StudioImage:
        """Draw the surfaces (camera axes, metres) through ``projection`` (4, 4)."""
        with self.context:
            if lights.shadow_strength > 0:
                self._draw_shadow(surfaces, lights)
            return self._draw(surfaces, lights, projection)

    def depth(self, surfaces: list[Surface], projection: FloatArray) -> NDArray[np.float32]:
        """Render only the depth (H, W) along z of the surfaces: much cheaper than ``draw``."""
        with self.context:
            self._draw_depth(self._coarse_framebuffer, surfaces, projection)
            return _read_depth(self._coarse)

    def bake(self, surface: Surface, lights: Lights) -> NDArray[np.float32]:
        """Return linear light (V, 3) from every vertex, visible or not, with the shadows of the last ``draw``."""
        count = len(surface.mesh.positions)
        with self.context, ExitStack() as resources:
            texture = self.context.texture((count, 1), 4, dtype="f4")
            resources.callback(texture.release)
            framebuffer = self.context.framebuffer([texture])
            resources.callback(framebuffer.release)
            framebuffer.use()
            self.context.enable_only(moderngl.NOTHING)
            self._prepare(lights)
            self._set("baked_count", float(count))
            self._set_matrix("camera_from_object", surface.camera_from_object)
            self._set_material(surface.material)
            self._arrays_of(surface.mesh).points.render(moderngl.POINTS)
            self._set("baked_count", 0.0)
            coded = np.frombuffer(texture.read(), np.float32).reshape(count, 4)[:, :3]
        return np.asarray(4 * coded**2, np.float32)

    def _draw_shadow(self, surfaces: list[Surface], lights: Lights) -> None:
        projection = shadow_from_camera(lights)
        self._set_matrix("shadow_from_camera", projection)
        casting = [surface for surface in surfaces if surface.label > BEHIND]
        self._draw_depth(self._shadow_framebuffer, casting, projection)

    def _draw_depth(self, framebuffer: moderngl.Framebuffer, surfaces: list[Surface], projection: FloatArray) -> None:
        framebuffer.use()
        framebuffer.clear(depth=1.0)
        self.context.enable_only(moderngl.DEPTH_TEST)
        program = self._depth_program
        self._write("clip_from_camera", projection.T, program)
        for surface in surfaces:
            self._write("camera_from_object", surface.camera_from_object.T, program)
            program["sleeve_thickness_m"] = surface.material.sleeve_thickness_m
            self._arrays_of(surface.mesh).depth.render()

    def _draw(self, surfaces: list[Surface], lights: Lights, projection: FloatArray) -> StudioImage:
        self._framebuffer.use()
        self._framebuffer.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        self.context.enable_only(moderngl.DEPTH_TEST)
        self._prepare(lights)
        self._set_matrix("clip_from_camera", projection)
        for surface in surfaces:
            self._set_matrix("camera_from_object", surface.camera_from_object)
            self._set_material(surface.material)
            self._set("label", surface.label)
            self._arrays_of(surface.mesh).lit.render()
        return self._read()

    def _prepare(self, lights: Lights) -> None:
        """Bind textures and set lights."""
        noise, creases, prints = self._textures
        noise.use(0)
        creases.use(1)
        prints.use(2)
        self._shadow.use(3)
        self._set_lights(lights)

    def _read(self) -> StudioImage:
        width, height = self._size
        pixels = np.frombuffer(self._colour.read(), np.uint8).reshape(height, width, 4)[::-1]
        return StudioImage(pixels[..., :3], pixels[..., 3], _read_depth(self._depth))

    def release(self) -> None:
        """Free every OpenGL object, but not the context."""
        self._arrays.clear()
        with self.context:
            self._stack.close()


def open_studio(textures: Textures, size: tuple[int, int] = CROP) -> HandStudio:
    """Create a studio with its own context, without a display (EGL on Linux)."""
    options: dict[str, Any] = {"backend": "egl"} if sys.platform.startswith("linux") else {}
    return HandStudio(moderngl.create_context(standalone=True, **options), textures, size)
