"""Render passes: images, hand meshes, and skeletons."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import cv2
import moderngl
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import KEYPOINT_COUNT, KEYPOINT_PARENTS, FloatArray
from handviz.rendering import options
from handviz.rendering.camera import Matrix, Size
from handviz.rendering.hand_shape import HandMaterial, HandShape, Surface, unique_edges
from handviz.rendering.options import Fade, KeyLight
from handviz.rendering.programs import load_program

MAX_SIDE_PX = 2048
CORNERS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=np.float32)
Rectangle = tuple[float, float, float, float]
FLOATS_PER_VERTEX = 11
FLOAT_BYTES = 4
EDGE_COLOUR = (0.03, 0.05, 0.07, 0.55)
EDGE_DEPTH_BIAS = 2e-3
MARK_FADES = options.SEEN_FROM, options.SEEN_TO
NO_MARKS = (-2.0, -1.0)
FADING = (
    (0, (moderngl.ONE, moderngl.ZERO)),
    (1, (moderngl.ZERO, moderngl.ONE)),
    (2, (moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA)),
)
HIDING = ((3, (moderngl.ONE, moderngl.ZERO)),)
# Okabe and Ito's colours for any colour vision: thumb ... little finger.
WRIST_COLOUR = (0.95, 0.95, 0.95)
FINGER_COLOURS = ((0.90, 0.62, 0.0), (0.34, 0.71, 0.91), (0.0, 0.72, 0.52), (0.94, 0.89, 0.26), (0.80, 0.47, 0.65))
COLOURS = np.array([WRIST_COLOUR, *(colour for colour in FINGER_COLOURS for _ in range(4))], dtype=np.float32)
BONES = np.array([(parent, child) for child, parent in enumerate(KEYPOINT_PARENTS) if parent >= 0])
BONE_RADIUS_PX, KEYPOINT_RADIUS_PX = 1.3, 3.0
MAX_HAND_COUNT = 8
STROKES_PER_HAND = len(BONES) + KEYPOINT_COUNT
FLOATS_PER_STROKE = 8


class ImagePass:
    """One textured rectangle; the texture is updated in place until the image's size changes."""

    def __init__(self, ctx: moderngl.Context, *, components: int = 3) -> None:
        self._ctx = ctx
        self._components = components
        self._resources = ExitStack()
        self._program = load_program(ctx, "image")
        self._corners = ctx.buffer(CORNERS)
        self._array = ctx.vertex_array(self._program, [(self._corners, "2f", "in_corner")])
        for resource in (self._program, self._corners, self._array):
            self._resources.callback(resource.release)
        self._texture: moderngl.Texture | None = None
        self._image: NDArray[np.uint8] | None = None

    def set_image(self, image: NDArray[np.uint8]) -> None:
        """Upload (H, W, components) sRGB, unless already done; very large images are reduced first."""
        if image is self._image:
            return
        whole = image
        if max(image.shape[:2]) > MAX_SIDE_PX:
            fraction = MAX_SIDE_PX / max(image.shape[:2])
            size = tuple(max(1, round(side * fraction)) for side in image.shape[1::-1])
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        size = (image.shape[1], image.shape[0])
        if self._texture is None or self._texture.size != size:
            self._release_texture()
            self._texture = self._ctx.texture(size, self._components, alignment=1)
            self._texture.filter = moderngl.LINEAR, moderngl.LINEAR
            self._texture.repeat_x = self._texture.repeat_y = False
        self._texture.write(np.ascontiguousarray(image), alignment=1)
        self._image = whole

    def use_as_backdrop(self, view_size: Size, rectangle_px: Rectangle, *, mirror: bool) -> Rectangle:
        """Bind the texture for another pass; returns scale and offset from fragments to the texture."""
        left, top, right, bottom = _mirrored(rectangle_px) if mirror else rectangle_px
        if self._texture is not None:
            self._texture.use(0)
        across, down = 1 / (right - left), 1 / (bottom - top)
        return across, -down, -left * across, (view_size[1] - top) * down

    def draw(self, view_size: Size, rectangle_px: Rectangle, *, mirror: bool = False) -> None:
        """Draw into the bound framebuffer at (left, top, right, bottom) in view pixels, y down."""
        if self._texture is None:
            return
        left, top, right, bottom = _mirrored(rectangle_px) if mirror else rectangle_px
        width, height = view_size
        self._ctx.enable_only(moderngl.BLEND if self._components == 4 else moderngl.NOTHING)
        self._ctx.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        self._texture.use(0)
        ndc = (2 * left / width - 1, 1 - 2 * top / height, 2 * right / width - 1, 1 - 2 * bottom / height)
        self._program["rectangle"] = ndc
        self._array.render(moderngl.TRIANGLE_STRIP)

    def _release_texture(self) -> None:
        if self._texture is not None:
            self._texture.release()
            self._texture = self._image = None

    def release(self) -> None:
        """Free all GPU resources."""
        self._release_texture()
        self._resources.close()


def _mirrored(rectangle: Rectangle) -> Rectangle:
    left, top, right, bottom = rectangle
    return right, top, left, bottom


@dataclass(frozen=True, eq=False)
class MeshView:
    """Settings for drawing all hands of one image."""

    clip_from_scene: Matrix
    eye_from_scene: Matrix
    """(3, 3) for normals."""
    opacity: float
    inside_opacity: float
    """Of surfaces seen from inside, through the open wrist, on top of ``opacity``."""
    backdrop_from_fragment: tuple[float, float, float, float]
    """Scale and offset to the texture at unit 0 behind the hands; used below opacity 1 only."""
    light: KeyLight
    pixel_ratio: float
    wireframe: bool
    fade: Fade | None = None
    """For uncertain regions; None: none fades."""
    over_nothing: bool = False
    """No backdrop: premultiplied colours, and opacity in alpha."""
    ground: tuple[float, float, float] = options.GROUNDS["dark"]
    """Colour behind the hands beside the backdrop."""


class _Topology:
    """Faces and edges of one display mesh, and a slot for each hand of it."""

    def __init__(self, ctx: moderngl.Context, surface: Surface, resources: ExitStack) -> None:
        self.vertex_count = surface.vertex_count
        self.face_buffer = ctx.buffer(np.ascontiguousarray(surface.faces, dtype=np.int32))
        self.edge_buffer = ctx.buffer(unique_edges(surface.faces))
        for resource in (self.face_buffer, self.edge_buffer):
            resources.callback(resource.release)
        self.slots: list[_Slot] = []


class _Slot:
    """Vertex buffer and arrays of one hand."""

    def __init__(self, ctx: moderngl.Context, owner: "MeshPass", topology: _Topology, resources: ExitStack) -> None:
        self.buffer = ctx.buffer(reserve=topology.vertex_count * FLOATS_PER_VERTEX * FLOAT_BYTES, dynamic=True)
        lit = [(self.buffer, "3f 3f 3f 8x", "in_position", "in_normal", "in_colour")]
        with_mark = [(self.buffer, "3f 3f 3f 1f 4x", "in_position", "in_normal", "in_colour", "in_seen")]
        all_names = "in_position", "in_normal", "in_colour", "in_seen", "in_std_mm"
        everything = [(self.buffer, "3f 3f 3f 1f 1f", *all_names)]
        position = [(self.buffer, "3f 32x", "in_position")]
        with_uncertainty = [(self.buffer, "3f 28x 1f", "in_position", "in_std_mm")]
        self.surface = ctx.vertex_array(owner.surface_program, lit, topology.face_buffer)
        self.marked_surface = ctx.vertex_array(owner.marking_program, with_mark, topology.face_buffer)
        self.fading_surface = ctx.vertex_array(owner.fading_program, everything, topology.face_buffer)
        self.edges = ctx.vertex_array(owner.edge_program, position, topology.edge_buffer)
        self.fading_edges = ctx.vertex_array(owner.fading_edge_program, with_uncertainty, topology.edge_buffer)
        surfaces = self.surface, self.marked_surface, self.fading_surface
        for resource in (self.buffer, *surfaces, self.edges, self.fading_edges):
            resources.callback(resource.release)


class MeshPass:
    """Lit surfaces of hands and their edges: shared programs, and topologies with a slot per hand, made when needed."""

    def __init__(self, ctx: moderngl.Context) -> None:
        self._ctx = ctx
        self._resources = ExitStack()
        self.surface_program = load_program(ctx, "mesh")
        # A separate program: even unused, marks would cost a tenth of the frame with a software renderer.
        self.marking_program = load_program(ctx, "mesh", define="MARKS_INFERRED")
        self.fading_program = load_program(ctx, "mesh", define=("MARKS_INFERRED", "FADES_UNCERTAIN"))
        self.edge_program = load_program(ctx, "line")
        self.fading_edge_program = load_program(ctx, "line", define="FADES_UNCERTAIN")
        self._surface_programs = self.surface_program, self.marking_program, self.fading_program
        self._edge_programs = self.edge_program, self.fading_edge_program
        for resource in (*self._surface_programs, *self._edge_programs):
            self._resources.callback(resource.release)
        self._set_constants()
        self._topologies: dict[Surface, _Topology] = {}
        self._slots: list[_Slot] = []
        self._materials: list[HandMaterial] = []

    def set_hands(self, hands: Sequence[HandShape]) -> None:
        """Upload every hand's vertices; hands without faces are left out."""
        hands = [hand for hand in hands if len(hand.surface.faces)]
        used: Counter[Surface] = Counter()
        self._slots = []
        for hand in hands:
            self._slots.append(self._slot(hand.surface, used[hand.surface]))
            used[hand.surface] += 1
            self._slots[-1].buffer.write(np.ascontiguousarray(hand.vertices, dtype=np.float32))
        self._materials = [hand.material for hand in hands]

    def _slot(self, surface: Surface, number: int) -> _Slot:
        """Return this slot of a surface, made if it is the next one."""
        if surface not in self._topologies:
            self._topologies[surface] = _Topology(self._ctx, surface, self._resources)
        topology = self._topologies[surface]
        if number == len(topology.slots):
            topology.slots.append(_Slot(self._ctx, self, topology, self._resources))
        return topology.slots[number]

    def draw(self, view: MeshView) -> None:
        """Draw into the bound framebuffer, over a cleared depth buffer."""
        if not self._materials:
            return
        slots = self._slots
        self._set_uniforms(view)
        self._ctx.enable_only(moderngl.DEPTH_TEST | moderngl.BLEND)
        # Surfaces blend with the backdrop in their shader; edges add their coverage to its alpha.
        self._ctx.blend_func = moderngl.ONE, moderngl.ZERO
        self._ctx.depth_func = "<="
        if view.fade is None:
            for slot, material in zip(slots, self._materials, strict=True):
                marks = material.marks_inferred
                program = self.marking_program if marks else self.surface_program
                self._draw_surface(program, slot.marked_surface if marks else slot.surface, material)
        else:
            self._draw_fading(slots, hides=view.fade[2] == 0)
        if view.wireframe:
            over = moderngl.ONE_MINUS_SRC_ALPHA
            # moderngl accepts four factors, unlike its types: the last two are for alpha.
            self._ctx.blend_func = moderngl.SRC_ALPHA, over, moderngl.ONE, over  # type: ignore[assignment]
            for slot in slots:
                (slot.edges if view.fade is None else slot.fading_edges).render(moderngl.LINES)

    def _draw_surface(self, program: moderngl.Program, surface: moderngl.VertexArray, material: HandMaterial) -> None:
        program["light_strength"] = material.light_strength
        program["gloss_strength"] = material.gloss_strength
        program["flipped_below"] = material.flipped_below
        surface.render(moderngl.TRIANGLES)

    def _draw_fading(self, slots: Sequence[_Slot], *, hides: bool) -> None:
        """Draw certain regions, then the depth and the colour of the nearest fading surface over them.

        Hiding leaves only a fading line, drawn in one step, since each is expensive with a software renderer.
        """
        for faded_part, blend_func in HIDING if hides else FADING:
            self.fading_program["faded_part"] = faded_part
            self._ctx.blend_func = blend_func
            for slot, material in zip(slots, self._materials, strict=True):
                self.fading_program["mark_fades"] = MARK_FADES if material.marks_inferred else NO_MARKS
                self._draw_surface(self.fading_program, slot.fading_surface, material)

    def _set_constants(self) -> None:
        for program in (self.marking_program, self.fading_program):
            program["mark_ground"] = (*options.GROUND_COLOUR, options.GROUND_FRACTION)
            program["mark_stripe"] = (*options.STRIPE_COLOUR, options.STRIPE_FRACTION)
            program["mark_fades"] = MARK_FADES
        for program in self._edge_programs:
            program["depth_bias"] = EDGE_DEPTH_BIAS
            program["line_colour"] = EDGE_COLOUR

    def _set_uniforms(self, view: MeshView) -> None:
        for program in (*self._surface_programs, *self._edge_programs):
            program["clip_from_scene"] = tuple(view.clip_from_scene.T.ravel())
        for program in self._surface_programs:
            program["eye_from_scene"] = tuple(view.eye_from_scene.T.ravel())
            program["background"] = view.ground
            program["opacity"] = view.opacity
            program["backdrop_opacity"] = 0.0 if view.over_nothing else 1.0
            program["inside_opacity"] = view.inside_opacity
            program["backdrop_from_fragment"] = view.backdrop_from_fragment
            program["to_key_light"] = view.light.to_light
            program["between_light_and_eye"] = view.light.between_light_and_eye()
        sizes_px = np.array([options.PERIOD_PX, options.HALF_WIDTH_PX]) * view.pixel_ratio
        for program in (self.marking_program, self.fading_program):
            program["mark_size_px"] = tuple(sizes_px)
        if view.fade is not None:
            for program in (self.fading_program, self.fading_edge_program):
                program["fade_mm"] = view.fade

    def release(self) -> None:
        """Free all GPU resources."""
        self._resources.close()


def strokes(keypoints_px: FloatArray, pixel_ratio: float) -> NDArray[np.float32]:
    """Convert keypoints (21, 2) to (41, 8): start, end, sRGB, radius; bones first, so that keypoints cover them."""
    starts = np.concatenate([keypoints_px[BONES[:, 0]], keypoints_px])
    ends = np.concatenate([keypoints_px[BONES[:, 1]], keypoints_px])
    colours = np.concatenate([COLOURS[BONES[:, 1]], COLOURS])
    radii = np.repeat([BONE_RADIUS_PX, KEYPOINT_RADIUS_PX], [len(BONES), KEYPOINT_COUNT]) * pixel_ratio
    return np.concatenate([starts, ends, colours, radii[:, None]], axis=1, dtype=np.float32)


class SkeletonPass:
    """Keypoints and bones as instanced quads, of which the fragment shader draws antialiased strokes."""

    def __init__(self, ctx: moderngl.Context) -> None:
        self._ctx = ctx
        self._resources = ExitStack()
        self._program = load_program(ctx, "capsule")
        self._corners = ctx.buffer(CORNERS)
        self._strokes = ctx.buffer(reserve=MAX_HAND_COUNT * STROKES_PER_HAND * FLOATS_PER_STROKE * 4, dynamic=True)
        content = [
            (self._corners, "2f", "in_corner"),
            (self._strokes, "2f 2f 3f 1f/i", "in_start", "in_end", "in_colour", "in_radius"),
        ]
        self._array = ctx.vertex_array(self._program, content)
        for resource in (self._program, self._corners, self._strokes, self._array):
            self._resources.callback(resource.release)

    def draw(self, view_size: Size, hands_px: list[FloatArray], pixel_ratio: float) -> None:
        """Draw hands (21, 2 each) given in view pixels into the bound framebuffer."""
        hands_px = hands_px[:MAX_HAND_COUNT]
        if not hands_px:
            return
        self.draw_strokes(view_size, np.concatenate([strokes(keypoints, pixel_ratio) for keypoints in hands_px]))

    def draw_strokes(self, view_size: Size, data: NDArray[np.float32]) -> None:
        """Draw rows as of ``strokes``, at most those of ``MAX_HAND_COUNT`` hands."""
        self._strokes.write(data)
        self._ctx.enable_only(moderngl.BLEND)
        self._ctx.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        self._program["view_size"] = view_size
        self._array.render(moderngl.TRIANGLE_STRIP, instances=len(data))

    def release(self) -> None:
        """Free all GPU resources."""
        self._resources.close()
