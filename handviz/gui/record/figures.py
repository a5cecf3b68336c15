"""Images for papers and slides: resolution, background, crop and clipboard; legends as vectors; turntables."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PyQt6.QtGui import QGuiApplication, QImage
from PyQt6.QtWidgets import QFileDialog, QWidget

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import atomic_path, make_folder
from handviz.core.records import FrameResult, HandMesh
from handviz.gui.record.legend_export import LEGEND_FORMATS, save_legend
from handviz.gui.record.output_panel import OutputPanel
from handviz.gui.record.screenshot import SCREENSHOT_FOLDER, images_folder
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import shown_colour
from handviz.gui.session.tasks import Task
from handviz.gui.view.viewport import Viewport
from handviz.gui.widgets.bind import bind
from handviz.gui.widgets.shortcuts import Feature, Shortcut
from handviz.rendering.camera import OrbitCamera, Size
from handviz.rendering.hand_shape import ModelDisplay
from handviz.rendering.options import DrawOptions

WHITE = 255
TURN_S = 6.0
RATES_HZ = {".mp4": 30, ".gif": 15}
TURNTABLE_FORMATS = {"Video (*.mp4)": ".mp4", "Animated image (*.gif)": ".gif"}
MAX_TURNTABLE_PX = 2048
NO_HAND = "There is no hand in this image to turn."
NO_LEGEND = "There is no colour scale in the view: choose Uncertainty (V), Difference map (D) or Attention (A)."
InFront = Callable[[], tuple[Viewport, FrameResult | None]]
Selected = Callable[[Sequence[HandMesh]], int | None]


class Figures(Feature):
    """Saved and copied images, as the settings ``figure_...`` say; ``in_front`` returns the view and its result."""

    def __init__(
        self,
        controller: Controller,
        in_front: InFront,
        selected: Selected,
        *,
        panel: OutputPanel,
        parent: QWidget,
        display: ModelDisplay,
    ) -> None:
        super().__init__()
        self._controller, self._in_front, self._selected = controller, in_front, selected
        self._parent, self._display = parent, display
        self._task = Task("The turntable could not be saved", low_priority=True)
        self._task.done.connect(lambda path: controller.report_saved(f"Saved {path}", path.parent))
        self._task.failed.connect(controller.warn)
        bind(panel.resolution, "figure_scale", controller)
        bind(panel.background, "figure_background", controller)
        bind(panel.crop, "figure_crop", controller)
        panel.copy.clicked.connect(self.copy)

    def shortcuts(self) -> Sequence[Shortcut]:
        """Return the key and the menu entries."""
        return (
            Shortcut(("Ctrl+C",), "Copy image", self.copy, menu="File"),
            Shortcut((), "Save legend (SVG, PDF)…", self.save_legend, menu="File"),
            Shortcut((), "Save turntable (MP4, GIF)…", self.save_turntable, menu="File"),
        )

    def stop(self) -> None:
        """Cancel a turntable."""
        self._task.stop()

    def image(self) -> QImage:
        """Return the view in front as the settings say; null where nothing can be drawn; may raise HandvizError."""
        viewport, result = self._in_front()
        settings = self._controller.settings
        hand = self._selected(result.hands) if result is not None else None
        options = viewport.options if settings.figure_background == "view" else viewport.options.cut_out()
        if settings.figure_crop:
            # It would be cut.
            options = replace(options, legend=False)
        pixels = viewport.figure(options, settings.figure_scale, crop=settings.figure_crop, hand=hand)
        if pixels is None:
            return viewport.grabFramebuffer()
        if settings.figure_background == "transparent":
            return as_image(pixels)
        return as_image(on_white(pixels)).convertToFormat(QImage.Format.Format_RGB888)

    def stem(self) -> str:
        """Return what a saved image is called: source, frame, model and colours."""
        result, source, settings = self._in_front()[1], self._controller.source, self._controller.settings
        parts = ["handviz"]
        if result is not None and result.frame.name:
            parts.append(Path(result.frame.name).stem)
        elif result is not None and source is not None:
            parts += [Path(source.name).stem, f"{result.frame.number:06d}"]
        named = [re.sub(r"[^\w.-]+", "-", part).strip("-.")[:60] for part in parts]
        return "_".join([*filter(None, named), settings.pipeline.model, shown_colour(settings)])

    def copy(self) -> None:
        """Copy the image to the clipboard."""
        try:
            image = self.image()
        except HandvizError as error:
            self._controller.warn(str(error))
            return
        clipboard = QGuiApplication.clipboard()
        if image.isNull() or clipboard is None:
            self._controller.notify("There is no image to copy.")
            return
        clipboard.setImage(image)
        self._controller.notify(f"Copied an image of {image.width()} x {image.height()} pixels.")

    def save_legend(self) -> None:
        """Ask for a file, and save the colour scale in it."""
        parts = [part for part in self._in_front()[0].legend_parts() if part.has_bar]
        if not parts:
            self._controller.notify(NO_LEGEND)
            return
        path = self._ask("Save legend", f"{self.stem()}_legend", LEGEND_FORMATS)
        if path is None:
            return
        try:
            save_legend(parts[0], path)
            self._controller.report_saved(f"Saved {path}", path.parent)
        except HandvizError as error:
            self._controller.warn(str(error))

    def save_turntable(self) -> None:
        """Ask for a file, and save one turn around the hands in it."""
        viewport, result = self._in_front()
        if result is None or not result.hands:
            self._controller.notify(NO_HAND)
            return
        path = self._ask("Save turntable", f"{self.stem()}_turntable", TURNTABLE_FORMATS)
        if path is None:
            return
        settings = self._controller.settings
        options = replace(viewport.options, view="orbit", inset=False, legend=False, labels=False)
        if settings.figure_background != "view":
            options = replace(options, ground="white", guides=False)
        scale = min(settings.figure_scale, MAX_TURNTABLE_PX / max(viewport.width(), viewport.height()))
        # Both even, as videos need.
        size = round(viewport.width() * scale) // 2 * 2, round(viewport.height() * scale) // 2 * 2
        work = partial(turntable, path, self._display, result, options, camera=viewport.camera, size=size)
        has_begun = self._task.begin(work)
        running = "A turntable is still being saved: wait until it is finished."
        self._controller.notify(f"Saving {path.name}…" if has_begun else running)

    def _ask(self, title: str, name: str, formats: dict[str, str]) -> Path | None:
        """Return the file that the user chooses, with a suffix of the formats; None if none is chosen."""
        folder = self._controller.store.text(SCREENSHOT_FOLDER) or str(images_folder())
        chosen, kind = QFileDialog.getSaveFileName(self._parent, title, str(Path(folder) / name), ";;".join(formats))
        if not chosen:
            return None
        path = Path(chosen)
        known = path.suffix.lower() in formats.values()
        return path if known else path.with_name(path.name + formats.get(kind, next(iter(formats.values()))))


def as_image(pixels: NDArray[np.uint8]) -> QImage:
    """Return pixels (H, W, 4), RGB and straight alpha, as an image of its own."""
    height, width = pixels.shape[:2]
    return QImage(pixels.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()


def on_white(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return pixels (H, W, 4) with straight alpha on white."""
    alpha = pixels[..., 3:] / np.float32(WHITE)
    mixed = np.rint(pixels[..., :3] * alpha + WHITE * (1 - alpha))
    return np.dstack([mixed, np.full(pixels.shape[:2], WHITE)]).astype(np.uint8)


def turntable(
    path: Path, display: ModelDisplay, result: FrameResult, options: DrawOptions, *, camera: OrbitCamera, size: Size
) -> Path:
    """Render one turn around a result's hands into a video or GIF; returns its path. Raises HandvizError."""
    # Imported here so that the window is up before the codecs are loaded.
    from handviz.io.recording.video import opened_writer
    from handviz.rendering.offscreen import OffscreenRenderer

    make_folder(path.parent)
    rate_hz = RATES_HZ[path.suffix.lower()]
    count = round(TURN_S * rate_hz)
    with OffscreenRenderer(display, *size, labels=True) as renderer:
        cameras = (replace(camera, yaw_rad=camera.yaw_rad + math.tau * number / count) for number in range(count))
        images = (renderer.draw(result, options, one) for one in cameras)
        if path.suffix.lower() == ".gif":
            frames = [Image.fromarray(image).quantize() for image in images]
            with atomic_path(path) as part:
                try:
                    frames[0].save(
                        part,
                        format="GIF",
                        save_all=True,
                        append_images=frames[1:],
                        loop=0,
                        duration=round(1000 / rate_hz),
                    )
                except OSError as error:
                    raise HandvizError(f"{path} cannot be written ({error}).", ErrorCode.NOT_WRITABLE) from error
            return path
        path, writer = opened_writer(path, size, rate_hz)
        try:
            for image in images:
                writer.write(np.ascontiguousarray(image[..., ::-1]))
        finally:
            writer.release()
    return path
