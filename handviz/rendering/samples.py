"""Hands drawn from the posterior: which ones, and the drawing of several as faint hands over the mean."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache

import moderngl
import numpy as np

from handviz.core.records import KEYPOINT_COUNT, FloatArray, HandMesh
from handviz.rendering.camera import Matrix
from handviz.rendering.hand_shape import HandShape, Surface
from handviz.rendering.programs import load_program

GHOST_COUNT = 6
PERIOD_S = 4.0
"""Of the animation."""
SEED = 21
MAX_SEEDS = 64
"""Hands whose random numbers are cached."""
FLOATS_PER_VERTEX = 9
FLOAT_BYTES = 4
INDEX_BYTES = 4


@lru_cache(maxsize=MAX_SEEDS)
def _normals(track_id: int, index: int) -> FloatArray:
    """Return standard normal numbers (``GHOST_COUNT``, 63), always the same for a hand."""
    normals = np.random.default_rng((SEED, track_id, index)).normal(size=(GHOST_COUNT, 3 * KEYPOINT_COUNT))
    normals.flags.writeable = False
    return normals


def normals_of(hand: HandMesh, index: int) -> FloatArray:
    """Return standard normal numbers (``GHOST_COUNT``, 63) of a track; of the hand's place in the image without one."""
    return _normals(hand.track_id, 0 if hand.track_id else index)


def normals_at(hand: HandMesh, index: int, time_s: float) -> FloatArray:
    """Return numbers (1, 63) on a great circle, cos(t) a + sin(t) b: at every moment standard normal as a and b are."""
    first, second = normals_of(hand, index)[:2]
    angle = 2 * math.pi * (time_s % PERIOD_S) / PERIOD_S
    return np.asarray(math.cos(angle) * first + math.sin(angle) * second)[None]


def drawn_hands(hand: HandMesh, normals: FloatArray) -> list[HandMesh]:
    """Return hands of the posterior for standard normal numbers (N, 63); none for a hand without a posterior."""
    if hand.shape is None:
        return []
    drawn = hand.shape.drawn(hand.vertices_m, hand.keypoints_m, normals)
    return [
        replace(hand, vertices_m=vertices_m, keypoints_m=keypoints_m)
        for vertices_m, keypoints_m in zip(*drawn, strict=True)
    ]


class _Ghosts:
    """Vertex buffer of all ghosts of one hand, and the faces of all of them."""

    def __init__(
        self, ctx: moderngl.Context, program: moderngl.Program, surface: Surface, resources: ExitStack
    ) -> None:
        steps = surface.vertex_count * np.arange(GHOST_COUNT, dtype=np.int32)
        faces = surface.faces[None].astype(np.int32) + steps[:, None, None]
        size = GHOST_COUNT * surface.vertex_count * FLOATS_PER_VERTEX * FLOAT_BYTES
        self._buffer, face_buffer = ctx.buffer(reserve=size, dynamic=True), ctx.buffer(np.ascontiguousarray(faces))
        self.array = ctx.vertex_array(
            program, [(self._buffer, "3f 3f 3f", "in_position", "in_normal", "in_colour")], face_buffer
        )
        for resource in (self._buffer, face_buffer, self.array):
            resources.callback(resource.release)

    def write(self, ghosts: Sequence[HandShape]) -> None:
        vertices = np.concatenate([ghost.vertices[:, :FLOATS_PER_VERTEX] for ghost in ghosts], dtype=np.float32)
        self._buffer.write(np.ascontiguousarray(vertices))


class GhostPass:
    """Translucent surfaces around the mean hands, in their colours, stronger at their outlines."""

    def __init__(self, ctx: moderngl.Context) -> None:
        self._ctx = ctx
        self._resources = ExitStack()
        self._program = load_program(ctx, "ghost")
        self._resources.callback(self._program.release)
        self._slots: dict[Surface, list[_Ghosts]] = {}
        self._shown: list[_Ghosts] = []

    def set_hands(self, hands: Sequence[Sequence[HandShape]]) -> None:
        """Upload the ghosts of every hand, ``GHOST_COUNT`` or none."""
        used: dict[Surface, int] = {}
        self._shown = []
        for ghosts in hands:
            if not ghosts or not len(ghosts[0].surface.faces):
                continue
            surface = ghosts[0].surface
            slots = self._slots.setdefault(surface, [])
            if used.setdefault(surface, 0) == len(slots):
                slots.append(_Ghosts(self._ctx, self._program, surface, self._resources))
            self._shown.append(slots[used[surface]])
            self._shown[-1].write(ghosts)
            used[surface] += 1

    def draw(self, clip_from_scene: Matrix, eye_from_scene: Matrix) -> None:
        """Draw into the bound framebuffer where its depth buffer is empty, after the mean hands, which cover them.

        Over the mean hand their outlines would hide its colours.
        """
        if not self._shown:
            return
        self._program["clip_from_scene"] = tuple(clip_from_scene.T.ravel())
        self._program["eye_from_scene"] = tuple(eye_from_scene.T.ravel())
        self._ctx.enable_only(moderngl.BLEND | moderngl.DEPTH_TEST)
        self._ctx.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        self._ctx.depth_func = "<="
        target = self._ctx.fbo
        target.depth_mask = False
        for ghosts in self._shown:
            ghosts.array.render(moderngl.TRIANGLES)
        target.depth_mask = True

    def release(self) -> None:
        """Free all GPU resources."""
        self._resources.close()
