"""Draws 21 keypoints and their bones as round-ended strokes, over everything else."""

from contextlib import ExitStack

import moderngl
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import KEYPOINT_COUNT, KEYPOINT_PARENTS, FloatArray
from handviz.rendering.camera import Size
from handviz.rendering.image_pass import CORNERS
from handviz.rendering.programs import load_program

# Okabe and Ito's colours, which people with any colour vision tell apart: thumb ... little finger.
WRIST_COLOUR = (0.95, 0.95, 0.95)
FINGER_COLOURS = ((0.90, 0.62, 0.0), (0.34, 0.71, 0.91), (0.0, 0.72, 0.52), (0.94, 0.89, 0.26), (0.80, 0.47, 0.65))
COLOURS = np.array([WRIST_COLOUR, *(colour for colour in FINGER_COLOURS for _ in range(4))], dtype=np.float32)
BONES = np.array([(parent, child) for child, parent in enumerate(KEYPOINT_PARENTS) if parent >= 0])
BONE_RADIUS_PX, KEYPOINT_RADIUS_PX = 1.3, 3.0
LARGEST_HAND_COUNT = 8
STROKES_PER_HAND = len(BONES) + KEYPOINT_COUNT
FLOATS_PER_STROKE = 8


def strokes(keypoints_px: FloatArray, pixel_ratio: float) -> NDArray[np.float32]:
    """Keypoints (21, 2) -> (41, 8): start, end, sRGB, radius; bones first, so that keypoints lie on them."""
    starts = np.concatenate([keypoints_px[BONES[:, 0]], keypoints_px])
    ends = np.concatenate([keypoints_px[BONES[:, 1]], keypoints_px])
    colours = np.concatenate([COLOURS[BONES[:, 1]], COLOURS])
    radii = np.repeat([BONE_RADIUS_PX, KEYPOINT_RADIUS_PX], [len(BONES), KEYPOINT_COUNT]) * pixel_ratio
    return np.concatenate([starts, ends, colours, radii[:, None]], axis=1, dtype=np.float32)


class SkeletonPass:
    """Instanced quads; the fragment shader cuts the strokes out of them, softly."""

    def __init__(self, ctx: moderngl.Context) -> None:
        self._ctx = ctx
        self._resources = ExitStack()
        self._program = load_program(ctx, "capsule")
        self._corners = ctx.buffer(CORNERS)
        self._strokes = ctx.buffer(reserve=LARGEST_HAND_COUNT * STROKES_PER_HAND * FLOATS_PER_STROKE * 4, dynamic=True)
        content = [
            (self._corners, "2f", "in_corner"),
            (self._strokes, "2f 2f 3f 1f/i", "in_start", "in_end", "in_colour", "in_radius"),
        ]
        self._array = ctx.vertex_array(self._program, content)
        for resource in (self._program, self._corners, self._strokes, self._array):
            self._resources.callback(resource.release)

    def draw(self, view_size: Size, hands_px: list[FloatArray], pixel_ratio: float) -> None:
        """Draw hands (21, 2 each) given in view pixels into the bound framebuffer."""
        hands_px = hands_px[:LARGEST_HAND_COUNT]
        if not hands_px:
            return
        self.draw_strokes(view_size, np.concatenate([strokes(keypoints, pixel_ratio) for keypoints in hands_px]))

    def draw_strokes(self, view_size: Size, data: NDArray[np.float32]) -> None:
        """Draw rows as those of ``strokes``, at most as many as eight hands have."""
        self._strokes.write(data)
        self._ctx.enable_only(moderngl.BLEND)
        self._ctx.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        self._program["view_size"] = view_size
        self._array.render(moderngl.TRIANGLE_STRIP, instances=len(data))

    def release(self) -> None:
        """Free everything on the graphics card."""
        self._resources.close()
