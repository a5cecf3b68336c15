"""Draws hands as lit surfaces, with their edges over them if wanted."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import moderngl
import numpy as np
from numpy.typing import NDArray

from handviz.render.camera import Matrix
from handviz.render.programs import load_program
from handviz.render.surface import Surface, unique_edges

FLOATS_PER_VERTEX = 9
FLOAT_BYTES = 4
BACKGROUND = (0.055, 0.063, 0.078)
EDGE_COLOUR = (0.03, 0.05, 0.07, 0.55)
EDGE_DEPTH_BIAS = 2e-3


@dataclass(frozen=True, eq=False)
class MeshView:
    """How all hands of one picture are drawn."""

    clip_from_scene: Matrix
    eye_from_scene: Matrix
    """(3, 3) for normals."""
    opacity: float
    backdrop_from_fragment: tuple[float, float, float, float]
    """Scale and offset to the texture at unit 0, which shines through; matters below opacity 1 only."""
    light_strength: float
    wireframe: bool


class _Slot:
    """One hand's place on the graphics card."""

    def __init__(self, ctx: moderngl.Context, owner: "MeshPass", resources: ExitStack) -> None:
        self.buffer = ctx.buffer(reserve=owner.vertex_count * FLOATS_PER_VERTEX * FLOAT_BYTES, dynamic=True)
        full = [(self.buffer, "3f 3f 3f", "in_position", "in_normal", "in_colour")]
        position = [(self.buffer, "3f 24x", "in_position")]
        self.surface = ctx.vertex_array(owner.surface_program, full, owner.face_buffer)
        self.edges = ctx.vertex_array(owner.edge_program, position, owner.edge_buffer)
        for resource in (self.buffer, self.surface, self.edges):
            resources.callback(resource.release)


class MeshPass:
    """Shared topology and programs; a slot per hand, made when the first picture needs it and kept."""

    def __init__(self, ctx: moderngl.Context, surface: Surface) -> None:
        self._ctx = ctx
        self._resources = ExitStack()
        self.vertex_count = surface.vertex_count
        self.surface_program = load_program(ctx, "mesh")
        self.edge_program = load_program(ctx, "line")
        self.face_buffer = ctx.buffer(np.ascontiguousarray(surface.faces, dtype=np.int32))
        self.edge_buffer = ctx.buffer(unique_edges(surface.faces))
        for resource in (self.surface_program, self.edge_program, self.face_buffer, self.edge_buffer):
            self._resources.callback(resource.release)
        self._slots: list[_Slot] = []
        self._hand_count = 0

    def set_hands(self, hands: Sequence[NDArray[np.float32]]) -> None:
        """Upload every hand's vertices (V, 9): position, normal, sRGB."""
        while len(self._slots) < len(hands):
            self._slots.append(_Slot(self._ctx, self, self._resources))
        for slot, vertices in zip(self._slots, hands, strict=False):
            slot.buffer.write(np.ascontiguousarray(vertices, dtype=np.float32))
        self._hand_count = len(hands)

    def draw(self, view: MeshView) -> None:
        """Draw into the bound framebuffer, over a cleared depth buffer."""
        if not self._hand_count:
            return
        slots = self._slots[: self._hand_count]
        self._set_uniforms(view)
        self._ctx.enable_only(moderngl.DEPTH_TEST | moderngl.BLEND)
        self._ctx.blend_func = moderngl.SRC_ALPHA, moderngl.ONE_MINUS_SRC_ALPHA
        self._ctx.depth_func = "<="
        for slot in slots:
            slot.surface.render(moderngl.TRIANGLES)
        if view.wireframe:
            for slot in slots:
                slot.edges.render(moderngl.LINES)

    def _set_uniforms(self, view: MeshView) -> None:
        for program in (self.surface_program, self.edge_program):
            program["clip_from_scene"] = tuple(view.clip_from_scene.T.ravel())
        self.surface_program["eye_from_scene"] = tuple(view.eye_from_scene.T.ravel())
        self.surface_program["opacity"] = view.opacity
        self.surface_program["backdrop_from_fragment"] = view.backdrop_from_fragment
        self.surface_program["background"] = BACKGROUND
        self.surface_program["light_strength"] = view.light_strength
        self.edge_program["depth_bias"] = EDGE_DEPTH_BIAS
        self.edge_program["line_colour"] = EDGE_COLOUR

    def release(self) -> None:
        """Free everything on the graphics card."""
        self._resources.close()
