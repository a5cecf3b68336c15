"""Everything in the viewport: the frame, the hands on it or alone, skeletons, the legend."""

from contextlib import ExitStack

import moderngl
import numpy as np

from handviz.records import FloatArray, FrameResult
from handviz.render.camera import (
    MIRROR,
    Letterbox,
    Matrix,
    OrbitCamera,
    Size,
    letterbox,
    overlay_matrix,
    project,
)
from handviz.render.deviation_range import RangeFollower
from handviz.render.hand_shape import HandShape, HandShaper, depth_range, orbit_centre, orbit_radius
from handviz.render.image_pass import ImagePass, Rectangle
from handviz.render.legend import HEIGHT_PX, WIDTH_PX, legend_picture
from handviz.render.legend_place import CORNERS, Corner, corner_rectangle, free_corner
from handviz.render.mesh_pass import BACKGROUND, MeshPass, MeshView
from handviz.render.options import DrawOptions
from handviz.render.skeleton_pass import SkeletonPass
from handviz.render.surface import Surface

PLAIN_LIGHT, HEATMAP_LIGHT = 1.0, 0.45
MARGIN_PX = 14
LEAST_LEGEND_RATIO = 0.5
INSET_SHARE = 0.26


class Scene:
    """Draws one result after the other into whatever framebuffer it is given."""

    def __init__(self, ctx: moderngl.Context, surface: Surface) -> None:
        self._ctx = ctx
        self._shaper = HandShaper(surface)
        self._follower = RangeFollower()
        self._resources = ExitStack()
        self._frame = ImagePass(ctx)
        self._legend = ImagePass(ctx, components=4)
        self._mesh = MeshPass(ctx, surface)
        self._skeleton = SkeletonPass(ctx)
        for part in (self._frame, self._legend, self._mesh, self._skeleton):
            self._resources.callback(part.release)
        self._result: FrameResult | None = None
        self._frame_is_new = False
        self._shapes: list[HandShape] = []
        self._shaped_for: tuple[object, ...] | None = None
        self._legend_for: tuple[object, ...] | None = None
        self._legend_corner: Corner = CORNERS[0]

    def show(self, result: FrameResult | None) -> None:
        """Take a new result, or None for an empty view; nothing is uploaded before the next ``draw``."""
        if result is not None and (self._result is None or result.frame is not self._result.frame):
            self._frame_is_new = True
        self._result = result
        self._shaped_for = None
        if result is not None and result.hands:
            self._follower.update(np.concatenate([hand.vertex_std_mm for hand in result.hands]))

    def range_mm(self, options: DrawOptions) -> tuple[float, float]:
        """The ends of the heatmap in use."""
        return options.deviation_range_mm or self._follower.range_mm

    def draw(
        self,
        target: moderngl.Framebuffer,
        options: DrawOptions,
        *,
        orbit: OrbitCamera | None = None,
        pixel_ratio: float = 1.0,
    ) -> None:
        """Draw into ``target``; ``pixel_ratio`` is physical pixels per logical one."""
        target.use()
        target.viewport = (0, 0, *target.size)
        target.clear(*BACKGROUND, 1.0, depth=1.0)
        if self._result is None:
            return
        self._upload(options)
        view_size = target.size
        rectangle = self._picture_rectangle(view_size, options, pixel_ratio)
        if options.view == "overlay":
            self._frame.draw(view_size, rectangle, mirror=options.mirror)
        backdrop = self._frame.use_as_backdrop(view_size, rectangle, mirror=options.mirror)
        view = self._mesh_view(view_size, options, orbit or OrbitCamera(), backdrop)
        self._mesh.draw(view)
        if options.skeleton:
            points = [project(view.clip_from_scene, shape.keypoints, view_size) for shape in self._shapes]
            self._skeleton.draw(view_size, points, pixel_ratio)
        if options.view == "orbit":
            self._frame.draw(view_size, rectangle, mirror=options.mirror)
        if options.legend and options.colour == "deviation" and self._shapes:
            box = rectangle if options.view == "overlay" else (0.0, 0.0, *view_size)
            points = [project(view.clip_from_scene, shape.vertices[:, :3], view_size) for shape in self._shapes]
            self._draw_legend(box, np.concatenate(points)[:, :2], options, view_size, pixel_ratio)

    def release(self) -> None:
        """Free everything on the graphics card."""
        self._resources.close()

    def _picture_size(self) -> Size:
        assert self._result is not None
        height, width = self._result.frame.image.shape[:2]
        return width, height

    def _upload(self, options: DrawOptions) -> None:
        assert self._result is not None
        if self._frame_is_new:
            self._frame.set_picture(self._result.frame.image)
            self._frame_is_new = False
        range_mm = self.range_mm(options)
        wanted = (options.view, options.colour, range_mm)
        if wanted != self._shaped_for:
            hands = self._result.hands
            centre = orbit_centre(hands)
            self._shapes = [self._shaper.shape(hand, options, range_mm=range_mm, centre_m=centre) for hand in hands]
            self._mesh.set_hands([shape.vertices for shape in self._shapes])
            self._shaped_for = wanted

    def _mesh_view(self, view_size: Size, options: DrawOptions, orbit: OrbitCamera, backdrop: Rectangle) -> MeshView:
        assert self._result is not None
        hands = self._result.hands
        overlay = options.view == "overlay"
        if overlay:
            clip = overlay_matrix(self._picture_size(), view_size, depth_range(hands))
            eye: Matrix = np.eye(3, dtype=np.float32)
        else:
            clip = orbit.matrix(orbit_radius(hands, orbit_centre(hands)), view_size)
            eye = orbit.rotation()
        if options.mirror:
            clip = (MIRROR @ clip).astype(np.float32)
        return MeshView(
            clip_from_scene=clip,
            eye_from_scene=eye,
            backdrop_from_fragment=backdrop,
            opacity=options.opacity if overlay else 1.0,
            light_strength=PLAIN_LIGHT if options.colour == "plain" else HEATMAP_LIGHT,
            wireframe=options.wireframe,
        )

    def _picture_rectangle(self, view_size: Size, options: DrawOptions, pixel_ratio: float) -> Rectangle:
        """As large as fits; in free orbit small in the lower left corner."""
        width, height = self._picture_size()
        if options.view == "overlay":
            box = letterbox((width, height), view_size)
        else:
            scale = INSET_SHARE * min(view_size[0] / width, view_size[1] / height)
            margin = MARGIN_PX * pixel_ratio
            box = Letterbox(scale=scale, left_px=margin, top_px=view_size[1] - margin - scale * height)
        right, bottom = box.left_px + box.scale * width, box.top_px + box.scale * height
        return box.left_px, box.top_px, right, bottom

    def _draw_legend(
        self, box: Rectangle, points_px: FloatArray, options: DrawOptions, view_size: Size, pixel_ratio: float
    ) -> None:
        """In a corner of ``box`` without a hand; a small view gets a smaller one, a tiny view none."""
        ratio = min(pixel_ratio, 0.6 * view_size[1] / HEIGHT_PX, 0.4 * view_size[0] / WIDTH_PX)
        if ratio < LEAST_LEGEND_RATIO:
            return
        wanted = (self.range_mm(options), round(ratio, 2))
        if wanted != self._legend_for:
            self._legend.set_picture(legend_picture(*wanted))
            self._legend_for = wanted
        height, width = legend_picture(*wanted).shape[:2]
        margin = MARGIN_PX * ratio
        inner = (box[0] + margin, box[1] + margin, box[2] - margin, box[3] - margin)
        self._legend_corner = free_corner(points_px, inner, (width, height), self._legend_corner)
        self._legend.draw(view_size, corner_rectangle(self._legend_corner, inner, (width, height)))
