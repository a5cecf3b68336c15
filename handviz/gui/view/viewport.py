"""OpenGL viewport of the window."""

import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol

import moderngl
import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import QPointF, QSize, Qt, QTimer, pyqtSignal
from PyQt6.QtGui import QMouseEvent, QOpenGLContext, QPaintEvent, QWheelEvent
from PyQt6.QtOpenGLWidgets import QOpenGLWidget
from PyQt6.QtWidgets import QWidget

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import WINDOW_COMMAND
from handviz.core.records import FrameResult, HandMesh
from handviz.rendering.camera import ImageZoom, OrbitCamera, Region, Size
from handviz.rendering.hand_notes import has_posterior
from handviz.rendering.hand_shape import ModelDisplay
from handviz.rendering.highlight import Highlight, Pick
from handviz.rendering.iterations import seconds_to_next_step
from handviz.rendering.legend import LegendPart
from handviz.rendering.offscreen import SAMPLES, MultisampleTarget, affordable_samples, read_pixels, straight_alpha
from handviz.rendering.options import DrawOptions, KeyLight
from handviz.rendering.panes import Pane, PanePoint
from handviz.rendering.split_scene import BLINK_S, SplitScene

NO_OPENGL = "The graphics driver offers no OpenGL 3.3 to this window; 'python -m handviz doctor' shows details."
SOFTWARE_HINTS = {
    "linux": f"start it as 'LIBGL_ALWAYS_SOFTWARE=1 {WINDOW_COMMAND}' to draw without the graphics card",
    "win32": "start it after 'set QT_OPENGL=software' to draw without the graphics card",
}
WHEEL_STEP = 120.0
CLICK_REACH_PX, LINE_REACH_PX = 4.0, 8.0
CROP_MARGIN = 0.12
"""Around a hand that an image is cropped to, as a fraction of its size."""
ANIMATION_PAUSE_MS = 30
"""Between two paints of the animation, in which the window does everything else."""
logger = logging.getLogger(__name__)


def broken_driver(error: Exception, platform: str = sys.platform) -> str:
    """Return the message for a driver that fails: the first line of its error, and the remedy."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" =-")]
    reason = lines[0][:120] if lines else type(error).__name__
    hint = SOFTWARE_HINTS.get(platform, "update the system, which brings its graphics driver")
    return (
        f"The graphics driver cannot draw this ({reason}). Hands are still reconstructed and can be saved. "
        f"To see them, update the driver or {hint}."
    )


def _with_margin(box: Region, size: Size) -> Region:
    """Return a box with room around it, within an image of this size; at least a pixel."""
    left, top, right, bottom = box
    margin = CROP_MARGIN * max(right - left, bottom - top)
    left, top = (min(max(edge - margin, 0), side - 1) for edge, side in zip((left, top), size, strict=True))
    right, bottom = (min(max(edge + margin, 1), side) for edge, side in zip((right, bottom), size, strict=True))
    return left, top, max(right, left + 1), max(bottom, top + 1)


class QtFunctions:
    """OpenGL functions found through Qt, for GLX, EGL (Wayland), WGL and Cocoa alike."""

    def __init__(self, context: QOpenGLContext) -> None:
        self._context = context

    def load_opengl_function(self, name: str) -> int:
        """Return the function's address, 0 if there is none."""
        address = self._context.getProcAddress(name.encode())
        return int(address) if address is not None else 0

    def __enter__(self) -> "QtFunctions":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: Qt makes its contexts current itself."""

    def release(self) -> None:
        """Do nothing: Qt owns the context."""


def moderngl_from(context: QOpenGLContext) -> moderngl.Context:
    """Wrap Qt's context, which must be current; raise HandvizError if it is older than OpenGL 3.3."""
    settings: dict[str, Any] = {"context": QtFunctions(context)}
    try:
        return moderngl.create_context(require=330, **settings)
    except (ValueError, moderngl.Error) as error:
        raise HandvizError(NO_OPENGL, ErrorCode.NO_OPENGL) from error


class ImageTaker(Protocol):
    """Receiver of the painted view, such as a recording."""

    def wants_image(self) -> bool:
        """Return whether the last paint is wanted; reading it back costs time."""
        ...

    def take_image(self, pixels: bytes, size: tuple[int, int]) -> None:
        """Take RGBA pixels, the lowest row first; ``size`` is width and height."""
        ...


class Viewport(QOpenGLWidget):
    """Widget that draws results through a SplitScene.

    In the 3D view dragging rotates, with Shift or the middle button it moves sideways; on the image it moves the image.
    The wheel zooms, on the image at the pointer; a double click resets. The right button moves the light.
    """

    painted = pyqtSignal(object, float)
    """the result shown or None, and the drawing time in milliseconds"""
    clicked = pyqtSignal(QPointF)
    """position of a click with the left button"""
    line_dragged = pyqtSignal(float)
    """where the line of a wipe is dragged to, as a fraction of the width"""
    click_revoked = pyqtSignal()
    """the last click was the first half of a double click, which means something else"""
    failed = pyqtSignal(str)
    """message why nothing can be drawn"""

    def __init__(self, display: ModelDisplay, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._display = display
        self._ctx: moderngl.Context | None = None
        self._scene: SplitScene | None = None
        self._smooth_target: MultisampleTarget | None = None
        self._samples = 0
        self._result: FrameResult | None = None
        self._options = DrawOptions()
        self._orbit = OrbitCamera()
        self._light = KeyLight()
        self._dragged = Qt.MouseButton.NoButton
        self._drag_from = QPointF()
        self._pressed_at: QPointF | None = None
        self._has_clicked = self._drags_line = False
        self._drawn_size = (0, 0)
        self._highlight: Highlight | None = None
        self.image_taker: ImageTaker | None = None
        self.clock: Callable[[], float] = time.perf_counter
        """seconds of the animation"""
        # Started by each paint, so that nothing runs while the view is hidden.
        self._animation = QTimer(self)
        self._animation.setSingleShot(True)
        self._animation.setInterval(ANIMATION_PAUSE_MS)
        self._animation.timeout.connect(self.update)
        self.setMinimumSize(QSize(320, 240))

    def show_result(self, result: FrameResult | None) -> None:
        """Draw this result from now on, or nothing, which ends the zoom into the image."""
        self._result = result
        if result is None:
            self._orbit = replace(self._orbit, image=ImageZoom())
        if self._scene is not None:
            self._scene.show(result)
        self.update()

    @property
    def device_name(self) -> str:
        """What OpenGL draws with, empty before the first paint and where nothing can be drawn."""
        return str(self._ctx.info["GL_RENDERER"]) if self._ctx is not None else ""

    @property
    def options(self) -> DrawOptions:
        """The present drawing options."""
        return self._options

    def set_options(self, options: DrawOptions) -> None:
        """Draw with these options from now on."""
        self._options = options
        self.update()

    def set_highlight(self, highlight: Highlight | None) -> None:
        """Mark a point of the present result from now on, or none."""
        self._highlight = highlight
        if self._scene is not None:
            self._scene.set_highlight(highlight)
        self.update()

    def pick_at(self, position: QPointF) -> Pick | None:
        """Return the vertex or joint at a position of this widget, in any pane; None beside the hands."""
        if self._scene is None:
            return None
        ratio = self.devicePixelRatioF()
        point_px = position.x() * ratio, position.y() * ratio
        return self._scene.pick(point_px, self._drawn_size, self._options, orbit=self._orbit, pixel_ratio=ratio)

    def range_mm(self) -> tuple[float, float] | None:
        """Return the ends of the colour scale on the screen."""
        return self._scene.range_mm(self._options) if self._scene is not None else self._options.std_range_mm

    def fitted_range_mm(self) -> tuple[float, float] | None:
        """Return ends of the colour scale that fit the present result; None without one that has numbers."""
        return self._scene.fitted_range_mm(self._options) if self._scene is not None else None

    def pane_at(self, position: QPointF) -> PanePoint | None:
        """Return the pane at a position of this widget, and the point in it in physical pixels; None beside panes."""
        if self._scene is None:
            return None
        ratio = self.devicePixelRatioF()
        point_px = position.x() * ratio, position.y() * ratio
        return self._scene.pane_at(point_px, self._drawn_size, self._options, ratio)

    def cut_out(self, scale: float = 1.0) -> NDArray[np.uint8] | None:
        """Return (H, W, 4) RGB and straight alpha of the hands in the view, ``scale`` times as large.

        None where nothing can be drawn; HandvizError if this is too large for the graphics card.
        """
        return self._drawn_image(self._options.cut_out(), scale, self._size_px, None)

    def figure(
        self, options: DrawOptions, scale: float = 1.0, *, crop: bool = False, hand: int | None = None
    ) -> NDArray[np.uint8] | None:
        """Return (H, W, 4) RGB and straight alpha of the view with other options, without bars beside the image.

        ``crop``: only a hand and its surroundings, those of all hands without a number. None and errors as ``cut_out``.
        """
        scene, camera = self._scene, self._orbit

        def box(size: Size) -> Region | None:
            found = scene.hands_box_px(hand, camera, size, options) if scene is not None else None
            return None if found is None else _with_margin(found, size)

        def size_px() -> Size:
            whole, ratio = self._size_px(), self.devicePixelRatioF()
            return scene.shown_size(camera, whole, options, ratio) if scene is not None else whole

        return self._drawn_image(options, scale, size_px, box if crop else None)

    def legend_parts(self) -> tuple[LegendPart, ...]:
        """Return the legends of the view; none before the first paint."""
        return self._scene.legend_parts(self._options) if self._scene is not None else ()

    def _drawn_image(
        self,
        options: DrawOptions,
        scale: float,
        size_px: Callable[[], Size],
        box: Callable[[Size], Region | None] | None,
    ) -> NDArray[np.uint8] | None:
        if self._ctx is None or self._scene is None:
            return None
        self.makeCurrent()
        try:
            width, height = size_px()
            size = round(width * scale), round(height * scale)
            image = self._draw_apart(self._ctx, self._scene, options, size, self.devicePixelRatioF() * scale)
            region = box(size) if box is not None else None
        except moderngl.Error as error:
            message = f"The graphics card cannot draw the view at this size ({error}); make the window smaller."
            raise HandvizError(message, ErrorCode.TOO_LARGE) from error
        finally:
            self._scene.set_highlight(self._highlight)
            self.doneCurrent()
        if region is None:
            return image
        left, top, right, bottom = (round(edge) for edge in region)
        return np.ascontiguousarray(image[top:bottom, left:right])

    def _draw_apart(
        self, ctx: moderngl.Context, scene: SplitScene, options: DrawOptions, size: Size, pixel_ratio: float
    ) -> NDArray[np.uint8]:
        with ExitStack() as resources:
            smooth = MultisampleTarget(ctx, min(SAMPLES, ctx.max_samples))
            plain = MultisampleTarget(ctx, 0)
            for target in (smooth, plain):
                resources.callback(target.release)
            drawn = smooth.framebuffer(size)
            if options.background == "none":
                scene.set_highlight(None)
            scene.draw(
                drawn,
                options,
                orbit=self._orbit,
                light=self._light,
                pixel_ratio=pixel_ratio,
                time_s=self.clock(),
            )
            smooth.resolve(plain.framebuffer(size))
            return straight_alpha(read_pixels(plain.framebuffer(size), components=4))

    @property
    def camera(self) -> OrbitCamera:
        """The viewpoint of the 3D view, and the zoom into the image."""
        return self._orbit

    def set_orbit(self, orbit: OrbitCamera) -> None:
        """Set the viewpoint of the 3D view and the zoom into the image, until the user changes them."""
        self._orbit = self._kept_inside(orbit)
        self.update()

    def reset_camera(self) -> None:
        """Return to the first viewpoint of the 3D view, or to the whole image."""
        if self._options.view == "orbit":
            self.set_orbit(OrbitCamera(image=self._orbit.image))
        else:
            self.set_orbit(replace(self._orbit, image=ImageZoom()))

    def frame_hand(self, hand: int | None) -> bool:
        """Show a hand of the result, or all of them (None), large; return False if there is none to be shown."""
        if self._scene is None:
            return False
        ratio = self.devicePixelRatioF()
        camera = self._scene.framing(hand, self._orbit, self._size_px(), self._options, ratio)
        if camera is not None:
            self.set_orbit(camera)
        return camera is not None

    def zoom_by(self, steps: float, position: QPointF | None = None) -> None:
        """Zoom in by steps of the wheel; on the image at a position of this widget, or in the middle of the view."""
        if self._options.view == "orbit":
            self.set_orbit(self._orbit.zoomed(steps))
            return
        place = self.pane_at(position) if position is not None else None
        size_px = place.size_px if place is not None else self._pane_size()
        x, y = place.point_px if place is not None else (size_px[0] / 2, size_px[1] / 2)
        point_px = (size_px[0] - x if self._options.mirror else x), y
        self.set_orbit(replace(self._orbit, image=self._orbit.image.zoomed(steps, point_px, size_px)))

    def move_by(self, right_px: float, down_px: float, *, pans: bool = False) -> None:
        """Rotate the 3D view, or move it sideways (``pans``), by pixels of this widget; on the image, move that."""
        right_px = -right_px if self._options.mirror else right_px
        ratio = self.devicePixelRatioF()
        if self._options.view == "overlay":
            image = self._orbit.image.dragged(right_px * ratio, down_px * ratio, self._pane_size())
            self.set_orbit(replace(self._orbit, image=image))
        elif pans:
            self.set_orbit(self._orbit.panned(right_px * ratio, down_px * ratio, self._pane_size()))
        else:
            self.set_orbit(self._orbit.dragged(right_px, down_px))

    def _kept_inside(self, camera: OrbitCamera) -> OrbitCamera:
        if self._scene is None:
            return camera
        return self._scene.kept_inside(camera, self._size_px(), self._options, self.devicePixelRatioF())

    def _size_px(self) -> Size:
        """Return width and height in physical pixels."""
        ratio = self.devicePixelRatioF()
        return round(self.width() * ratio), round(self.height() * ratio)

    def _pane_size(self) -> Size:
        """Return width and height of the first pane, in physical pixels."""
        panes: tuple[Pane, ...] = ()
        if self._scene is not None:
            panes = self._scene.panes(self._size_px(), self._options, self.devicePixelRatioF())
        return panes[0].size_px if panes else self._size_px()

    def release_gl(self) -> None:
        """Free all OpenGL objects; the viewport stays empty afterwards."""
        self._animation.stop()
        if self._scene is None:
            return
        self.makeCurrent()
        self._release()
        self.doneCurrent()

    def initializeGL(self) -> None:  # noqa: N802
        """Build the scene; Qt calls this with its context current, again if the widget moves to another window."""
        self._release()
        context = QOpenGLContext.currentContext()
        assert context is not None
        try:
            self._ctx = moderngl_from(context)
        except HandvizError as error:
            self.failed.emit(str(error))
            return
        try:
            self._samples = affordable_samples(self._ctx)
            self._smooth_target = MultisampleTarget(self._ctx, self._samples)
            self._scene = SplitScene(self._ctx, self._display)
        except moderngl.Error as error:
            self._give_up(error)
            return
        self._scene.show(self._result)
        self._scene.set_highlight(self._highlight)
        logger.info("Drawing with %s", self._ctx.info["GL_RENDERER"])

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802
        """Report missing OpenGL, without which Qt calls neither ``initializeGL`` nor ``paintGL``."""
        super().paintEvent(event)
        if not self.isValid():
            self.failed.emit(NO_OPENGL)

    def paintGL(self) -> None:  # noqa: N802
        """Draw; Qt calls this with the widget's framebuffer bound, whose number changes on every resize."""
        if self._ctx is None or self._scene is None or self._smooth_target is None:
            return
        started_s = time.perf_counter()
        try:
            self._draw(self._ctx, self._scene, self._smooth_target)
        except moderngl.Error as error:
            self._give_up(error)
            return
        self.painted.emit(self._result, (time.perf_counter() - started_s) * 1000)
        if self._is_animated():
            self._animation.start(self._milliseconds_to_next_image())

    def _draw(self, ctx: moderngl.Context, scene: SplitScene, smooth_target: MultisampleTarget) -> None:
        # The context's own screen is wrong inside a QOpenGLWidget.
        screen = ctx.detect_framebuffer(self.defaultFramebufferObject())
        target = smooth_target.framebuffer(screen.size) if self._samples else screen
        pixel_ratio, self._drawn_size = self.devicePixelRatioF(), target.size
        scene.draw(
            target,
            self._options,
            orbit=self._orbit,
            light=self._light,
            pixel_ratio=pixel_ratio,
            time_s=self.clock(),
        )
        if self._samples:
            smooth_target.resolve(screen)
        ctx.finish()
        if self.image_taker is not None and self.image_taker.wants_image():
            self.image_taker.take_image(screen.read(components=4, alignment=1), screen.size)

    def _is_animated(self) -> bool:
        return self._moves_samples() or self._plays_steps() or self._blinks()

    def _blinks(self) -> bool:
        return self._options.compare and self._options.compare_mode == "blink" and self._result is not None

    def _moves_samples(self) -> bool:
        return self._options.samples == "animation" and any(map(has_posterior, self._all_hands()))

    def _plays_steps(self) -> bool:
        return self._options.plays_iterations and any(hand.steps for hands in self._all_hands() for hand in hands)

    def _all_hands(self) -> Sequence[Sequence[HandMesh]]:
        """Return the hands of every model of the result."""
        return () if self._result is None else (self._result.hands, *self._result.others.values())

    def _milliseconds_to_next_image(self) -> int:
        """Return when the animation changes: steps of a network stand still in between."""
        if self._moves_samples():
            return ANIMATION_PAUSE_MS
        waits_s = [seconds_to_next_step(self.clock())] if self._plays_steps() else []
        waits_s += [BLINK_S - self.clock() % BLINK_S] if self._blinks() else []
        return max(ANIMATION_PAUSE_MS, math.ceil(min(waits_s) * 1000))

    def _give_up(self, error: moderngl.Error) -> None:
        """Draw nothing more: the driver cannot compile or draw and would fail at every frame."""
        logger.error("The graphics driver fails: %s", error)
        self._release()
        self.failed.emit(broken_driver(error))

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Begin a drag or a click."""
        is_left = event is not None and event.button() == Qt.MouseButton.LeftButton
        self._pressed_at = event.position() if event is not None and is_left else None
        self._has_clicked = False
        self._drags_line = event is not None and is_left and self._is_on_line(event.position())
        if event is not None and self._can_drag(event.button()):
            self._dragged, self._drag_from = event.button(), event.position()

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Rotate or move the hands, move the image or the light."""
        if event is None or not self._can_drag(self._dragged):
            return
        if self._pressed_at is not None:
            # A click with an unsteady hand moves nothing.
            if (event.position() - self._pressed_at).manhattanLength() <= CLICK_REACH_PX:
                return
            self._pressed_at = None
        if self._drags_line:
            self.line_dragged.emit(min(max(event.position().x() / self.width(), 0.0), 1.0))
            return
        moved = event.position() - self._drag_from
        self._drag_from = event.position()
        if self._dragged == Qt.MouseButton.RightButton:
            right_px = -moved.x() if self._options.mirror else moved.x()
            self._light = self._light.dragged(right_px, moved.y())
            self.update()
            return
        is_shifted = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        self.move_by(moved.x(), moved.y(), pans=is_shifted or self._dragged == Qt.MouseButton.MiddleButton)

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """End a drag, or report a click."""
        pressed_at, self._pressed_at = self._pressed_at, None
        if event is not None and pressed_at is not None and event.button() == Qt.MouseButton.LeftButton:
            moved = event.position() - pressed_at
            if moved.manhattanLength() <= CLICK_REACH_PX:
                self._has_clicked = True
                self.clicked.emit(event.position())
        if event is not None and event.button() == self._dragged:
            self._dragged = Qt.MouseButton.NoButton

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Reset the view, or with the right button the light."""
        if event is not None and event.button() == Qt.MouseButton.RightButton:
            self._light = KeyLight()
            self.update()
            return
        if self._has_clicked:
            self.click_revoked.emit()
        self.reset_camera()

    def _is_on_line(self, position: QPointF) -> bool:
        """Return whether the line of a wipe is here."""
        options = self._options
        if not options.compare or options.compare_mode != "wipe":
            return False
        return abs(position.x() - options.wipe_at * self.width()) <= LINE_REACH_PX

    def _can_drag(self, button: Qt.MouseButton) -> bool:
        if button == Qt.MouseButton.RightButton:
            return self._options.light_can_move
        return button in (Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton)

    def wheelEvent(self, event: QWheelEvent | None) -> None:  # noqa: N802
        """Zoom."""
        if event is not None:
            self.zoom_by(event.angleDelta().y() / WHEEL_STEP, event.position())

    def _release(self) -> None:
        for part in (self._scene, self._smooth_target):
            if part is not None:
                part.release()
        self._scene = self._smooth_target = self._ctx = None
