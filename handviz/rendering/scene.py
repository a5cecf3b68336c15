"""One view: the frame, the hands on it or in 3D, skeletons, the legend."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import moderngl
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray, FrameResult, HandMesh
from handviz.rendering.camera import (
    MIRROR,
    Letterbox,
    Matrix,
    OrbitCamera,
    Region,
    Size,
    letterbox,
    overlay_matrix,
    project,
)
from handviz.rendering.colormap import RangeFollower
from handviz.rendering.detection_strokes import detection_strokes
from handviz.rendering.difference import Distances, name_of
from handviz.rendering.ellipses import EllipsePass
from handviz.rendering.hand_label import HandLabelPass, hand_label
from handviz.rendering.hand_notes import has_posterior, has_uncertainty, mesh_note, uncertainty_note
from handviz.rendering.hand_shape import (
    HAND_RADIUS_M,
    HandShape,
    HandShaper,
    ModelDisplay,
    all_stds_mm,
    depth_range,
    no_surface,
    orbit_centre,
    orbit_radius,
)
from handviz.rendering.heatmaps import image_with_heatmaps
from handviz.rendering.highlight import AttentionShown, Highlight, Pick
from handviz.rendering.iterations import hand_at_step, step_at, step_note
from handviz.rendering.legend import MARGIN_PX, LegendPart, LegendPass, LegendRoom, disc_lines, note_lines, notes_for
from handviz.rendering.legend import Rectangle as WholeRectangle
from handviz.rendering.options import GROUNDS, DrawOptions, KeyLight, fade_of
from handviz.rendering.orbit_guides import OrbitGuides, checker_image
from handviz.rendering.panes import Pane
from handviz.rendering.passes import ImagePass, MeshPass, MeshView, Rectangle, SkeletonPass
from handviz.rendering.picking import JOINT_REACH_PX, PickView, highlight_strokes, pick
from handviz.rendering.samples import GhostPass, drawn_hands, normals_at, normals_of

INSET_FRACTION = 0.26
LABEL_STEP = 8
"""Every how many vertices labels keep off."""
CHECKER_PX = 12


class Scene:
    """Drawing of results into any framebuffer."""

    def __init__(self, ctx: moderngl.Context, display: ModelDisplay, frame: ImagePass | None = None) -> None:
        """Create the passes; ``frame`` is shared with another scene, which frees it; None creates one."""
        self._ctx, self._display = ctx, display
        self._shapers: dict[str, HandShaper] = {}
        self._follower = RangeFollower()
        self._resources = ExitStack()
        self.frame = frame or ImagePass(ctx)
        self._ctx = ctx
        self._frame_in_use = self.frame
        self._frame_with_heatmaps: ImagePass | None = None
        self._guides: OrbitGuides | None = None
        self._checker: ImagePass | None = None
        self._legend = LegendPass(ctx)
        self._mesh = MeshPass(ctx)
        self._ghosts = GhostPass(ctx)
        self._skeleton = SkeletonPass(ctx)
        self._ellipses = EllipsePass(ctx)
        self._labels = HandLabelPass(ctx)
        own = (self.frame,) if frame is None else ()
        for part in (*own, self._legend, self._mesh, self._ghosts, self._skeleton, self._ellipses, self._labels):
            self._resources.callback(part.release)
        self._highlight: Highlight | None = None
        self._result: FrameResult | None = None
        self._distances: Distances | None = None
        self._orbit_radius_m: float | None = None
        self._region: Region | None = None
        self._shapes: list[HandShape] = []
        self._drawn: list[HandShape] = []
        """The same at the moment of the animation, if there is one."""
        self._image: NDArray[np.uint8] | None = None
        """Of the result, with heatmaps over it if they are chosen."""
        self._heatmaps_of: str | None = None
        self._steps_of: tuple[object, ...] | None = None
        self._shown_hands: tuple[HandMesh, ...] = ()
        """Of the result, each at the step of its network that is shown."""
        self._step_note = ""
        self._shaped_for: tuple[object, ...] | None = None
        self._drawn_for: tuple[object, ...] | None = None

    def show(
        self,
        result: FrameResult | None,
        *,
        distances: Distances | None = None,
        orbit_radius_m: float | None = None,
        region: Region | None = None,
    ) -> None:
        """Set a new result, or None for an empty view; nothing is uploaded before the next ``draw``.

        ``distances`` to another model colour its hands; ``orbit_radius_m`` fits the orbit to other panes too. The
        overlay shows ``region`` of the image as large as fits; None: all of it.
        """
        self._result, self._distances, self._orbit_radius_m = result, distances, orbit_radius_m
        self._region = region
        self._shaped_for = self._heatmaps_of = self._image = None
        self._shown_hands, self._step_note, self._steps_of = (), "", None
        if result is not None and result.hands:
            self._follower.update(all_stds_mm(result.hands))

    def set_highlight(self, highlight: Highlight | None) -> None:
        """Mark this point of the current result from the next ``draw`` on; None marks nothing."""
        self._highlight = highlight

    def pick(
        self, point_px: FloatArray, view_size: Size, options: DrawOptions, *, orbit: OrbitCamera, pixel_ratio: float
    ) -> Pick | None:
        """Return the vertex or joint under a point (2,), in physical pixels, of the view as last drawn."""
        if self._result is None or not self._shapes:
            return None
        clip_from_scene, _ = self._matrices(view_size, options, orbit)
        reach_px = JOINT_REACH_PX * pixel_ratio if options.skeleton or options.ellipses else 0.0
        return pick(PickView(clip_from_scene, view_size), self._drawn, point_px, joint_reach_px=reach_px)

    def range_mm(self, options: DrawOptions) -> tuple[float, float]:
        """Return the ends of the uncertainty's colour map in use."""
        return options.std_range_mm or self._follower.range_mm

    def draw(
        self,
        target: moderngl.Framebuffer,
        options: DrawOptions,
        *,
        orbit: OrbitCamera | None = None,
        light: KeyLight | None = None,
        pixel_ratio: float = 1.0,
        pane: Pane | None = None,
        time_s: float = 0.0,
    ) -> None:
        """Draw into ``target``, or a pane of it; ``pixel_ratio`` is physical pixels per logical one.

        ``time_s`` is the moment of the animation of hands drawn from the posterior, if that is chosen.
        Labels of the hands in a pane are drawn by ``draw_labels``, once it is known where the legend of all panes is.
        """
        target.use()
        whole = 0, 0, *target.size
        left_px, bottom_px, width, height = whole if pane is None else pane.viewport(target.size)
        view_size = width, height
        target.viewport = left_px, bottom_px, width, height
        shown = target.viewport if pane is None else pane.scissor(target.size)
        over_nothing = options.background == "none"
        ground = (0.0,) * 4 if over_nothing else (*GROUNDS[options.ground], 1.0)
        target.clear(*ground, depth=1.0, viewport=shown)
        if self._result is None:
            return
        camera = orbit or OrbitCamera()
        self._upload(options, time_s)
        rectangle = self.image_rectangle(view_size, options, pixel_ratio, camera)
        if options.ground == "checker" and not over_nothing:
            self._draw_checker(view_size, pixel_ratio)
        if options.view == "overlay" and not over_nothing:
            self._frame_in_use.draw(view_size, rectangle, mirror=options.mirror)
        clip_from_scene, eye_from_scene = self._matrices(view_size, options, camera)
        has_guides = options.view == "orbit" and options.guides and bool(self._shapes)
        if has_guides:
            self._own_guides().draw_grid(clip_from_scene, self._radius_m(), options.ground)
        view = MeshView(
            clip_from_scene=clip_from_scene,
            eye_from_scene=eye_from_scene,
            backdrop_from_fragment=_shifted_backdrop(
                (left_px, bottom_px), self._frame_in_use.use_as_backdrop(view_size, rectangle, mirror=options.mirror)
            ),
            opacity=options.opacity if options.view == "overlay" else 1.0,
            # On the image the arm continues where the mesh ends: no dark inside in textured skin.
            inside_opacity=0.0 if options.view == "overlay" and options.colour == "texture" else 1.0,
            light=light if light is not None and options.light_can_move else KeyLight(),
            pixel_ratio=pixel_ratio,
            wireframe=options.wireframe,
            fade=fade_of(options),
            over_nothing=over_nothing,
            ground=GROUNDS[options.ground],
        )
        self._mesh.draw(view)
        if options.samples == "ghosts":
            self._ghosts.draw(clip_from_scene, eye_from_scene)
        self._draw_lines(view_size, options, clip_from_scene, pixel_ratio)
        if options.view == "orbit" and options.inset and not over_nothing:
            self._frame_in_use.draw(view_size, rectangle, mirror=options.mirror)
        if has_guides:
            self._draw_axes_and_scale(view_size, options, camera, pixel_ratio, rectangle)
        legend = None
        if options.legend and self._shapes:
            box = within_view(rectangle, view_size) if options.view == "overlay" else (0.0, 0.0, *view_size)
            points_px = _points_px(clip_from_scene, self._shapes, view_size)
            legend = self._legend.draw(self.legend_parts(options), LegendRoom(box, view_size, pixel_ratio), points_px)
        if pane is None:
            self.draw_labels(
                view_size, options, orbit=orbit, pixel_ratio=pixel_ratio, taken=() if legend is None else (legend,)
            )

    def _draw_lines(self, view_size: Size, options: DrawOptions, clip_from_scene: Matrix, pixel_ratio: float) -> None:
        """Draw ellipses, skeletons, detections and the picked point."""
        if options.ellipses:
            sigmas = options.ellipse_sigmas
            self._ellipses.draw(self._shapes, clip_from_scene, view_size, sigmas=sigmas, pixel_ratio=pixel_ratio)
        if options.skeleton:
            points = [project(clip_from_scene, shape.keypoints, view_size) for shape in self._drawn]
            self._skeleton.draw(view_size, points, pixel_ratio * options.skeleton_width)
        highlight = self._current_highlight()
        if highlight is not None:
            shape = self._drawn[highlight.pick.hand]
            strokes = highlight_strokes(highlight, shape, clip_from_scene, view_size, pixel_ratio)
            self._skeleton.draw_strokes(view_size, strokes)
        if options.detections and options.view == "overlay":
            assert self._result is not None
            for data in detection_strokes(self._result, clip_from_scene, view_size, pixel_ratio):
                self._skeleton.draw_strokes(view_size, data)

    def draw_labels(
        self,
        view_size: Size,
        options: DrawOptions,
        *,
        orbit: OrbitCamera | None,
        pixel_ratio: float,
        taken: Sequence[WholeRectangle],
    ) -> None:
        """Draw the labels of the hands of the last ``draw`` into the bound framebuffer, off rectangles ``taken``.

        In the 3D view only the hand with the picked point is labelled, whose label is bright.
        """
        if self._result is None or not options.labels or options.background == "none":
            return
        highlight = self._current_highlight()
        clip_from_scene, _ = self._matrices(view_size, options, orbit or OrbitCamera())
        labels = []
        for index, (hand, shape) in enumerate(zip(self._result.hands, self._shapes, strict=True)):
            is_picked = highlight is not None and highlight.pick.hand == index
            if is_picked or options.view == "overlay":
                points = np.concatenate([shape.model_vertices[::LABEL_STEP], shape.keypoints])
                points_px = project(clip_from_scene, points, view_size)
                labels.append(hand_label(hand, index, points_px, view_size, pixel_ratio, is_picked=is_picked))
        self._labels.draw(labels, view_size, taken, pixel_ratio)

    def hands_px(self, view_size: Size, options: DrawOptions, orbit: OrbitCamera) -> FloatArray:
        """Return pixels (N, 2) of the meshes' vertices in the view last drawn with these options."""
        if self._result is None or not self._shapes:
            return np.zeros((0, 2))
        return _points_px(self._matrices(view_size, options, orbit)[0], self._shapes, view_size)

    def release(self) -> None:
        """Free all GPU resources."""
        self._resources.close()

    def _image_size(self) -> Size:
        assert self._result is not None
        height, width = self._result.frame.image.shape[:2]
        return width, height

    def _upload(self, options: DrawOptions, time_s: float) -> None:
        assert self._result is not None
        result = self._result
        if self._image is None or self._heatmaps_of != options.heatmaps:
            self._image = image_with_heatmaps(result.frame.image, result.hands, options.heatmaps)
            self._heatmaps_of = options.heatmaps
        self._frame_in_use = self.frame if self._image is result.frame.image else self._own_frame()
        self._frame_in_use.set_image(self._image)
        steps = tuple(step_at(hand, options, time_s) for hand in result.hands)
        if (steps, options.view) != self._steps_of:
            chosen = zip(result.hands, steps, strict=True)
            self._shown_hands = tuple(hand_at_step(hand, number, options) for hand, number in chosen)
            self._steps_of = steps, options.view
        hands, self._step_note = self._shown_hands, step_note(result.hands, options, time_s)
        attention = [self._attention_of(number) for number in range(len(hands))]
        range_mm = self.range_mm(options)
        colours = options.colour, options.colour_map, options.mark_inferred, options.relight, range_mm
        wanted = (options.view, *colours, *steps, *attention)
        if wanted != self._shaped_for:
            self._shapes = [self._shape(hand, number, options) for number, hand in enumerate(hands)]
            self._shaped_for, self._drawn_for = wanted, None
        moment = options.samples, time_s if options.samples == "animation" else None
        if moment != self._drawn_for:
            self._upload_samples(options, time_s)
            self._drawn_for = moment

    def _own_frame(self) -> ImagePass:
        """Return the pass of the image with heatmaps, which differs from pane to pane; made when it is first needed."""
        if self._frame_with_heatmaps is None:
            self._frame_with_heatmaps = ImagePass(self._ctx)
            self._resources.callback(self._frame_with_heatmaps.release)
        return self._frame_with_heatmaps

    def _upload_samples(self, options: DrawOptions, time_s: float) -> None:
        """Upload the mean hands, or those of this moment of the animation, and the ghosts if there are any."""
        hands = self._shown_hands
        if options.samples == "animation":
            drawn = [drawn_hands(hand, normals_at(hand, n, time_s)) or [hand] for n, hand in enumerate(hands)]
            self._drawn = [self._shape(hand, number, options) for number, (hand,) in enumerate(drawn)]
        else:
            self._drawn = self._shapes
        self._mesh.set_hands(self._drawn)
        if options.samples == "ghosts":
            drawn = [drawn_hands(hand, normals_of(hand, number)) for number, hand in enumerate(hands)]
            self._ghosts.set_hands([[self._shape(one, n, options) for one in ghosts] for n, ghosts in enumerate(drawn)])

    def _shape(self, hand: HandMesh, number: int, options: DrawOptions) -> HandShape:
        """Return the shape of a hand of the result, or of another one in its place."""
        assert self._result is not None
        return self._shaper_of(hand).shape(
            hand,
            options,
            range_mm=self.range_mm(options),
            centre_m=orbit_centre(self._result.hands),
            attention=self._attention_of(number),
            distances_mm=self._distances.hands_mm[number] if self._distances is not None else None,
        )

    def _shaper_of(self, hand: HandMesh) -> HandShaper:
        """Return the shaper of the hand's model; if that is not known, one that gives the vertices no faces."""
        if hand.hand_model not in self._shapers:
            surface = self._display.surfaces.get(hand.hand_model)
            if surface is None:
                return HandShaper(no_surface(len(hand.vertices_m)))
            self._shapers[hand.hand_model] = HandShaper(surface)
        return self._shapers[hand.hand_model]

    def _current_highlight(self) -> Highlight | None:
        """Return the highlight; None if this result does not have its point."""
        highlight = self._highlight
        if highlight is None or highlight.pick.hand >= len(self._shapes):
            return None
        vertex, vertex_count = highlight.pick.vertex, len(self._shapes[highlight.pick.hand].model_vertices)
        return highlight if vertex is None or vertex < vertex_count else None

    def _attention_of(self, hand: int) -> AttentionShown | None:
        highlight = self._highlight
        return highlight.attention if highlight is not None and highlight.pick.hand == hand else None

    def _matrices(self, view_size: Size, options: DrawOptions, orbit: OrbitCamera) -> tuple[Matrix, Matrix]:
        """Return (4, 4) clip from scene, and (3, 3) eye from scene for normals."""
        assert self._result is not None
        hands = self._result.hands
        if options.view == "overlay":
            # What an iteration makes of a hand may lie far in front of it or behind.
            box, depths = self._image_box(view_size, orbit), depth_range((*hands, *self._shown_hands))
            clip = overlay_matrix(box, view_size, depths)
            eye: Matrix = np.eye(3, dtype=np.float32)
        else:
            clip = orbit.matrix(self._radius_m(), view_size)
            eye = orbit.rotation()
        return (MIRROR @ clip).astype(np.float32) if options.mirror else clip, eye

    def _radius_m(self) -> float:
        """Return the radius of the ball that the 3D view contains without zoom."""
        assert self._result is not None
        return self._orbit_radius_m or orbit_radius(self._result.hands, orbit_centre(self._result.hands))

    def _image_box(self, view_size: Size, camera: OrbitCamera) -> Letterbox:
        """Return where the image lies in the overlay, before it is mirrored."""
        size = self._image_size()
        fitted = letterbox(size, view_size, self._region)
        return camera.image.within(fitted, size, view_size).placed(fitted, view_size)

    def kept_inside(self, camera: OrbitCamera, view_size: Size) -> OrbitCamera:
        """Return the camera with the zoom into the image that is drawn: the image is not moved out of the view."""
        if self._result is None:
            return camera
        size = self._image_size()
        zoom = camera.image.within(letterbox(size, view_size, self._region), size, view_size)
        return replace(camera, image=zoom)

    def hands_box_px(
        self, hand: int | None, view_size: Size, options: DrawOptions, camera: OrbitCamera
    ) -> Region | None:
        """Return left, top, right and bottom of a hand, or of all (None), in the view last drawn; None without one."""
        shapes = self._shapes if hand is None else self._shapes[hand : hand + 1]
        if not shapes:
            return None
        clip_from_scene = self._matrices(view_size, options, camera)[0]
        points = np.concatenate([part for shape in shapes for part in (shape.model_vertices, shape.keypoints)])
        points_px = project(clip_from_scene, points, view_size)
        (left, top), (right, bottom) = points_px.min(axis=0).tolist(), points_px.max(axis=0).tolist()
        return left, top, right, bottom

    def hand_in_orbit(self, index: int) -> tuple[FloatArray, float] | None:
        """Return centre (3,) and radius of a hand in radii of the 3D view's ball; None if there is no such hand."""
        if self._result is None or index >= len(self._result.hands):
            return None
        hand, centre_m = self._result.hands[index], orbit_centre(self._result.hands)
        middle_m = (hand.keypoints_m.min(axis=0) + hand.keypoints_m.max(axis=0)) / 2
        shift_m = hand.wrist_camera_m + middle_m - centre_m
        return shift_m / self._radius_m(), HAND_RADIUS_M / self._radius_m()

    def image_rectangle(
        self, view_size: Size, options: DrawOptions, pixel_ratio: float, camera: OrbitCamera | None = None
    ) -> Rectangle:
        """Return the image's rectangle: as the zoom says; in the 3D view small in the lower left corner."""
        width, height = self._image_size()
        if options.view == "overlay":
            box = self._image_box(view_size, camera or OrbitCamera())
        else:
            scale = INSET_FRACTION * min(view_size[0] / width, view_size[1] / height)
            margin = MARGIN_PX * pixel_ratio
            box = Letterbox(scale=scale, left_px=margin, top_px=view_size[1] - margin - scale * height)
        right, bottom = box.left_px + box.scale * width, box.top_px + box.scale * height
        if options.view == "overlay" and options.mirror:
            return view_size[0] - right, box.top_px, view_size[0] - box.left_px, bottom
        return box.left_px, box.top_px, right, bottom

    def _own_guides(self) -> OrbitGuides:
        """Return the guides of the 3D view, made when they are first needed."""
        if self._guides is None:
            self._guides = OrbitGuides(self._ctx)
            self._resources.callback(self._guides.release)
        return self._guides

    def _draw_axes_and_scale(
        self, view_size: Size, options: DrawOptions, camera: OrbitCamera, pixel_ratio: float, inset: Rectangle
    ) -> None:
        margin = MARGIN_PX * pixel_ratio
        has_inset = options.inset and options.background != "none"
        rotation = camera.rotation()
        self._own_guides().draw_axes_and_scale(
            np.diag([-1.0, 1.0, 1.0]) @ rotation if options.mirror else rotation,
            camera.metres_per_px(self._radius_m(), view_size),
            (margin, inset[1] - margin / 2 if has_inset else view_size[1] - margin),
            view_size=view_size,
            pixel_ratio=pixel_ratio,
            ground=options.ground,
        )

    def _draw_checker(self, view_size: Size, pixel_ratio: float) -> None:
        if self._checker is None:
            self._checker = ImagePass(self._ctx)
            self._resources.callback(self._checker.release)
        self._checker.set_image(checker_image(view_size, max(1, round(CHECKER_PX * pixel_ratio))))
        self._checker.draw(view_size, (0.0, 0.0, *view_size))

    def legend_parts(self, options: DrawOptions, *, beside_label: bool = False) -> tuple[LegendPart, ...]:
        """Return the legends of the colours, of inferred regions, of uncertain ones, and of what is not drawn.

        ``beside_label``: in a pane whose label says what is not drawn.
        """
        if self._result is None or not self._shapes:
            return ()
        hands, parts = self._shown_hands or self._result.hands, []
        if self._distances is not None:
            name = name_of(self._distances.difference, self._display)
            parts.append(LegendPart("distance", self.range_mm(options), (name,)))
        elif self._highlight is not None and self._highlight.attention is not None:
            parts.append(LegendPart("attention", (0.0, self._highlight.attention.upper)))
        elif options.colour == "uncertainty" and has_uncertainty(hands):
            parts.append(LegendPart("uncertainty", self.range_mm(options), colour_map=options.colour_map))
        if any(shape.material.marks_inferred for shape in self._shapes):
            parts.append(LegendPart("seen"))
        has_ellipses = any(shape.keypoint_covariance is not None for shape in self._shapes)
        lines = notes_for(
            options,
            fades=has_uncertainty(hands),
            ellipses=options.ellipses and has_ellipses,
            samples=has_posterior(hands),
        )
        if self._distances is None and self._highlight is not None and self._highlight.attention is not None:
            lines += disc_lines(self._highlight.attention.joints)
        label = self._display.label(self._result.model)
        lines += note_lines(self._step_note)
        if not beside_label:
            lines += note_lines("" if self._step_note else uncertainty_note(hands, options, label))
            lines += note_lines(mesh_note(hands, self._display.surfaces))
        return (*parts, LegendPart("notes", lines=lines)) if lines else tuple(parts)


def within_view(rectangle: Rectangle, view_size: Size) -> Rectangle:
    """Return the part of a rectangle that is in the view."""
    left, top, right, bottom = rectangle
    return max(left, 0.0), max(top, 0.0), min(right, view_size[0]), min(bottom, view_size[1])


def _points_px(clip_from_scene: Matrix, shapes: Sequence[HandShape], view_size: Size) -> FloatArray:
    """Project the vertices of all drawn meshes to view pixels (N, 2)."""
    drawn = [shape.vertices[:, :3] for shape in shapes if len(shape.surface.faces)]
    return project(clip_from_scene, np.concatenate([np.zeros((0, 3), np.float32), *drawn]), view_size)


def _shifted_backdrop(origin_px: tuple[int, int], backdrop_from_fragment: Rectangle) -> Rectangle:
    """Return scale and offset for a view whose lower left corner is not the framebuffer's."""
    across, up, right, down = backdrop_from_fragment
    return across, up, right - across * origin_px[0], down - up * origin_px[1]
