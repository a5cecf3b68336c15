"""The whole view: one scene, or one for each model side by side, and the distances between two of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import moderngl
import numpy as np

from handviz.core.records import FloatArray, FrameResult, ModelId
from handviz.rendering.camera import OrbitCamera, Region, Size
from handviz.rendering.colormap import RangeFollower, fitted_range
from handviz.rendering.difference import Distances, distances_of, on_mesh_of
from handviz.rendering.hand_shape import ModelDisplay, all_stds_mm, orbit_centre, orbit_radius
from handviz.rendering.highlight import Highlight, Pick
from handviz.rendering.legend import LegendPart, LegendPass, LegendRoom, joined, points_in
from handviz.rendering.legend import Rectangle as WholeRectangle
from handviz.rendering.options import Difference, DrawOptions, KeyLight
from handviz.rendering.pane_label import pane_label, pane_lines
from handviz.rendering.panes import CropFollower, Pane, PanePoint, pane_at, panes_of, wiped
from handviz.rendering.passes import ImagePass, Rectangle
from handviz.rendering.scene import Scene, within_view

GAP_COLOUR = (0.16, 0.18, 0.21)
LINE_COLOUR, LINE_WIDTH_PX = (0.95, 0.95, 0.95), 2
BLINK_S = 0.8
"""How long ``blink`` shows each model."""
LABEL_GAP_PX = 8
"""Between the line of ``wipe`` and the label on its right."""
FRAMED_FRACTION = 0.6
"""Of a pane, that the hand fills which is zoomed to."""


class _Drawn(NamedTuple):
    """Content of a drawn pane."""

    image: Rectangle | None
    """Rectangle of the frame in the pane, in overlay."""
    parts: tuple[LegendPart, ...]
    occupied_px: FloatArray
    """(N, 2) in the view: the hands' vertices, and points all over the label."""
    label: WholeRectangle
    """In the pane."""


class SplitScene:
    """Drawing of results in panes and as difference maps (``DrawOptions``), with shared camera, light and scale."""

    def __init__(self, ctx: moderngl.Context, display: ModelDisplay) -> None:
        self._ctx, self._display = ctx, display
        self._scenes = [Scene(ctx, display)]
        self._labels: dict[ModelId, ImagePass] = {}
        self._legend = LegendPass(ctx)
        self._stds, self._distances_seen = RangeFollower(), RangeFollower()
        self._result: FrameResult | None = None
        self._distances: Distances | None = None
        self._highlight: Highlight | None = None
        self._measured: Difference | None = None
        self._shown_for: tuple[object, ...] | None = None
        self._crop = CropFollower()
        self._region: Region | None = None
        self._blinked = 0
        """Number of the model that ``blink`` shows."""

    def show(self, result: FrameResult | None) -> None:
        """Set a new result, or None for an empty view; nothing is uploaded before the next ``draw``."""
        self._result, self._shown_for = result, None

    def range_mm(self, options: DrawOptions) -> tuple[float, float]:
        """Return the ends of the colour map in use: of the uncertainty, or of distances."""
        if options.std_range_mm is not None:
            return options.std_range_mm
        if self._distances is not None:
            return 0.0, self._distances_seen.range_mm[1]
        return self._stds.range_mm if options.compare else self._scenes[0].range_mm(options)

    def fitted_range_mm(self, options: DrawOptions) -> tuple[float, float] | None:
        """Return ends of the colour map that fit the result on the screen; None if nothing in it has a number."""
        self._distribute(options)
        if self._distances is not None:
            return 0.0, fitted_range(np.concatenate(self._distances.hands_mm))[1]
        if self._result is None:
            return None
        models = options.compared if options.compare else (self._result.model,)
        stds_mm = all_stds_mm([hand for model in models for hand in self._result.of_model(model).hands])
        return fitted_range(stds_mm) if np.isfinite(stds_mm).any() else None

    def panes(self, view_size: Size, options: DrawOptions, pixel_ratio: float = 1.0) -> tuple[Pane, ...]:
        """Return the panes of the view; none without a result."""
        if self._result is None:
            return ()
        if not options.compare:
            return (Pane(self._single(options), 0, 0, *view_size),)
        if options.compare_mode == "wipe":
            return wiped(view_size, options.compared, options.wipe_at)
        if options.compare_mode == "blink":
            return (Pane(options.compared[self._blinked % len(options.compared)], 0, 0, *view_size),)
        left, top, right, bottom = self._region or (0, 0, *self._result.frame.image.shape[1::-1])
        size = max(1, round(right - left)), max(1, round(bottom - top))
        return panes_of(view_size, options.compared, image_size=size, view=options.view, pixel_ratio=pixel_ratio)

    def pane_at(
        self, point_px: tuple[float, float], view_size: Size, options: DrawOptions, pixel_ratio: float = 1.0
    ) -> PanePoint | None:
        """Return the model drawn at a point of the view, in physical pixels, and the point in its pane."""
        return pane_at(self.panes(view_size, options, pixel_ratio), *point_px)

    def kept_inside(
        self, camera: OrbitCamera, view_size: Size, options: DrawOptions, pixel_ratio: float = 1.0
    ) -> OrbitCamera:
        """Return the camera with the zoom into the image that is drawn, as ``Scene.kept_inside``."""
        panes = self.panes(view_size, options, pixel_ratio)
        if not panes or options.view != "overlay":
            return camera
        return self._scene_of(panes[0].model, options).kept_inside(camera, panes[0].size_px)

    def framing(
        self, hand: int | None, camera: OrbitCamera, view_size: Size, options: DrawOptions, pixel_ratio: float = 1.0
    ) -> OrbitCamera | None:
        """Return the camera that shows a hand, or all of them (None), large; None if there is no hand."""
        panes = self.panes(view_size, options, pixel_ratio)
        if self._result is None or not panes or not self._result.hands:
            return None
        scene, size_px = self._scene_of(panes[0].model, options), panes[0].size_px
        if options.view == "orbit":
            placed = None if hand is None else scene.hand_in_orbit(hand)
            return camera.framing(*placed) if placed is not None else camera.framing(np.zeros(3), 1.0)
        box = scene.hands_box_px(hand, size_px, options, camera)
        if box is None:
            return None
        left, top, right, bottom = box
        left, right = (size_px[0] - right, size_px[0] - left) if options.mirror else (left, right)
        zoom = camera.image.framing((left, top, right, bottom), size_px, FRAMED_FRACTION)
        return scene.kept_inside(replace(camera, image=zoom), size_px)

    def shown_size(self, camera: OrbitCamera, view_size: Size, options: DrawOptions, pixel_ratio: float) -> Size:
        """Return the size of the view without the bars beside the image; with panes, and in 3D, there are none."""
        panes = self.panes(view_size, options, pixel_ratio)
        if len(panes) != 1 or options.view != "overlay":
            return view_size
        rectangle = self._scene_of(panes[0].model, options).image_rectangle(view_size, options, pixel_ratio, camera)
        left, top, right, bottom = within_view(rectangle, view_size)
        return max(1, round(right - left)), max(1, round(bottom - top))

    def hands_box_px(
        self, hand: int | None, camera: OrbitCamera, view_size: Size, options: DrawOptions
    ) -> Region | None:
        """Return the box around a hand, or all of them (None), of the view last drawn; None with panes."""
        if self._result is None or options.compare:
            return None
        return self._scene_of(self._single(options), options).hands_box_px(hand, view_size, options, camera)

    def legend_parts(self, options: DrawOptions) -> tuple[LegendPart, ...]:
        """Return the legends of the view last drawn."""
        panes = self.panes((1, 1), options)
        scenes = [(self._scene_of(pane.model, options), self._options_of(pane.model, options)) for pane in panes]
        return joined(part for scene, own in scenes for part in scene.legend_parts(own))

    def set_highlight(self, highlight: Highlight | None) -> None:
        """Mark this point of the current result from the next ``draw`` on, in every pane; None marks nothing."""
        self._highlight = highlight

    def pick(
        self,
        point_px: tuple[float, float],
        view_size: Size,
        options: DrawOptions,
        *,
        orbit: OrbitCamera,
        pixel_ratio: float,
    ) -> Pick | None:
        """Return the vertex or joint under a point, in physical pixels, of the view as last drawn.

        In the pane of a model with another mesh it is the nearest vertex of the result's own.
        """
        found = self.pane_at(point_px, view_size, options, pixel_ratio)
        if found is None:
            return None
        point = np.array(found.point_px)
        scene = self._scene_of(found.model, options)
        picked = scene.pick(point, found.size_px, options, orbit=orbit, pixel_ratio=pixel_ratio)
        assert self._result is not None
        return self._on_mesh_of(self._result.model, picked, found.model) if picked is not None else None

    def _on_mesh_of(self, model: ModelId, pick: Pick, picked_on: ModelId) -> Pick | None:
        """Return a point that was picked on a model's hand on another model's; None if it has no such hand."""
        assert self._result is not None
        first, second = (self._result.of_model(one).hands for one in (picked_on, model))
        if pick.hand >= min(len(first), len(second)):
            return None
        return on_mesh_of(pick, first[pick.hand], second[pick.hand])

    def _scene_of(self, model: ModelId, options: DrawOptions) -> Scene:
        self._make_scenes(len(options.compared) if options.compare else 1)
        return self._scenes[options.compared.index(model) if options.compare else 0]

    def draw(
        self,
        target: moderngl.Framebuffer,
        options: DrawOptions,
        *,
        orbit: OrbitCamera | None = None,
        light: KeyLight | None = None,
        pixel_ratio: float = 1.0,
        time_s: float = 0.0,
    ) -> None:
        """Draw into ``target``, as ``Scene.draw``."""
        self._distribute(options)
        if self._result is None or not (options.compare or options.difference):
            self._scenes[0].set_highlight(self._highlight)
            self._scenes[0].draw(target, options, orbit=orbit, light=light, pixel_ratio=pixel_ratio, time_s=time_s)
            return
        target.use()
        target.viewport = (0, 0, *target.size)
        has_ground = options.background != "none"
        target.clear(*(*GAP_COLOUR, 1.0) if has_ground else (0.0,) * 4, depth=1.0)
        self._blinked = int(time_s / BLINK_S)
        panes, drawn = self.panes(target.size, options, pixel_ratio), []
        for pane in panes:
            target.scissor = pane.scissor(target.size)
            drawn.append(
                self._draw_pane(target, pane, options, orbit=orbit, light=light, pixel_ratio=pixel_ratio, time_s=time_s)
            )
            if pane.shown_px is not None and pane.shown_px[0] > 0:
                width = max(1, round(LINE_WIDTH_PX * pixel_ratio))
                line = pane.shown_px[0] - width // 2, 0, width, target.size[1]
                target.clear(*LINE_COLOUR, 1.0, viewport=line)
        target.scissor = None  # type: ignore[assignment]  # moderngl takes it: all of the target
        target.viewport = (0, 0, *target.size)
        legend = self._draw_legend(drawn, target.size, pixel_ratio) if options.legend else None
        # On both sides of a line hands have one label.
        labelled = 1 if options.compare and options.compare_mode == "wipe" else len(panes)
        for pane, one in zip(panes[:labelled], drawn, strict=False):
            target.viewport = pane.viewport(target.size)
            taken = (one.label,) if legend is None else (one.label, _shifted(legend, -pane.left_px, -pane.top_px))
            self._scene_of(pane.model, options).draw_labels(
                pane.size_px, options, orbit=orbit, pixel_ratio=pixel_ratio, taken=taken
            )

    def _draw_pane(
        self,
        target: moderngl.Framebuffer,
        pane: Pane,
        options: DrawOptions,
        *,
        orbit: OrbitCamera | None,
        light: KeyLight | None,
        pixel_ratio: float,
        time_s: float,
    ) -> _Drawn:
        assert self._result is not None
        own, scene = self._options_of(pane.model, options), self._scene_of(pane.model, options)
        scene.set_highlight(self._highlight_of(pane.model, options))
        scene.draw(target, own, orbit=orbit, light=light, pixel_ratio=pixel_ratio, pane=pane, time_s=time_s)
        shown = None
        if own.view == "overlay":
            shown = within_view(scene.image_rectangle(pane.size_px, own, pixel_ratio, orbit), pane.size_px)
        lines = pane_lines(self._result, pane, options, self._distances, self._display)
        label, rectangle = pane_label(lines, pane, shown, pixel_ratio)
        if pane.shown_px is not None and pane.shown_px[0] > 0:
            rectangle = _shifted(rectangle, pane.shown_px[0] + round(LABEL_GAP_PX * pixel_ratio) - rectangle[0], 0)
        if options.background != "none":
            self._label_pass(pane.model).set_image(label)
            self._label_pass(pane.model).draw(pane.size_px, rectangle)
        hands_px = scene.hands_px(pane.size_px, own, orbit or OrbitCamera())
        parts = scene.legend_parts(own, beside_label=True)
        occupied_px = np.concatenate([hands_px, points_in(rectangle)])
        return _Drawn(shown, parts, occupied_px + np.array([pane.left_px, pane.top_px]), rectangle)

    def _draw_legend(self, drawn: Sequence[_Drawn], view_size: Size, pixel_ratio: float) -> WholeRectangle | None:
        """Draw one legend for all panes, away from hands and labels, and beside the images if they leave room.

        Return where it is; None if there is none.
        """
        parts = joined(part for one in drawn for part in one.parts)
        occupied_px = np.concatenate([one.occupied_px for one in drawn])
        image, beside = drawn[0].image, None
        box: Rectangle = (0.0, 0.0, *view_size)
        if image is not None and len(drawn) > 1:
            # Images are centred in their panes, with the same margin on both sides.
            beside = image[0], image[1]
        elif image is not None:
            box = image
        return self._legend.draw(parts, LegendRoom(box, view_size, pixel_ratio, beside, may_shrink=True), occupied_px)

    def release(self) -> None:
        """Free all GPU resources; the first scene last, since the others share its image."""
        for scene in reversed(self._scenes):
            scene.release()
        for label in self._labels.values():
            label.release()
        self._legend.release()

    def _single(self, options: DrawOptions) -> ModelId:
        """Return the model drawn without panes: the active one, or the first of a difference without it."""
        assert self._result is not None
        chosen, difference = self._result.model, options.shown_difference
        if difference is None or chosen in difference.pair or self._distances is None:
            return chosen
        return difference.first

    def _distribute(self, options: DrawOptions) -> None:
        """Set every scene's part of the result."""
        crops = options.compare and options.compare_crop and options.view == "overlay"
        wanted = (options.compare and options.compared, options.shown_difference, crops)
        if wanted == self._shown_for:
            return
        self._shown_for = wanted
        result, difference = self._result, options.shown_difference
        if difference != self._measured:
            self._measured, self._distances_seen = difference, RangeFollower()
        self._distances = distances_of(result, difference) if result is not None and difference is not None else None
        if result is None:
            self._crop.reset()
            for scene in self._scenes:
                scene.show(None)
            return
        if self._distances is not None:
            self._distances_seen.update(np.concatenate(self._distances.hands_mm))
        models = options.compared if options.compare else (self._single(options),)
        results = [result.of_model(model) for model in models]
        if options.compare and any(one.hands for one in results):
            self._stds.update(all_stds_mm([hand for one in results for hand in one.hands]))
        self._region = None
        if crops:
            hands = [hand for one in results for hand in one.hands]
            self._region = self._crop.update(hands, result.frame.image.shape[1::-1])
        radius_m = max(orbit_radius(one.hands, orbit_centre(one.hands)) for one in results)
        for one in results:
            distances = self._distances if self._is_measured(one.model) else None
            self._scene_of(one.model, options).show(
                one, distances=distances, orbit_radius_m=radius_m, region=self._region
            )

    def _is_measured(self, model: ModelId) -> bool:
        return self._distances is not None and model in self._distances.difference.pair

    def _options_of(self, model: ModelId, options: DrawOptions) -> DrawOptions:
        """Return a pane's options: one scale for all, and plain if distances are shown but not of this model."""
        own = replace(options, legend=False)
        if not options.difference:
            return own.with_range(self.range_mm(options))
        if self._is_measured(model):
            return replace(own, colour="uncertainty").with_range(self.range_mm(options))
        return replace(own, colour="plain")

    def _highlight_of(self, model: ModelId, options: DrawOptions) -> Highlight | None:
        """Return the same point in every pane; with attention for the active model only, and not with distances."""
        assert self._result is not None
        if self._highlight is None or (model == self._result.model and not options.difference):
            return self._highlight
        pick = self._on_mesh_of(model, self._highlight.pick, self._result.model)
        return Highlight(pick) if pick is not None else None

    def _label_pass(self, model: ModelId) -> ImagePass:
        if model not in self._labels:
            self._labels[model] = ImagePass(self._ctx, components=4)
        return self._labels[model]

    def _make_scenes(self, count: int) -> None:
        while len(self._scenes) < count:
            self._scenes.append(Scene(self._ctx, self._display, self._scenes[0].frame))


def _shifted(rectangle: WholeRectangle, right_px: int, down_px: int) -> WholeRectangle:
    left, top, right, bottom = rectangle
    return left + right_px, top + down_px, right + right_px, bottom + down_px
