"""Dialog for the camera intrinsics and the hand size; it stays open beside the running view."""

from pathlib import Path

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import QDialog, QFileDialog, QHBoxLayout, QPushButton, QTabWidget, QVBoxLayout, QWidget

from handviz.core.camera_files import camera_model_text, opencv_text, read_camera_file
from handviz.core.camera_model import ASSUMED_CAMERA, CameraModel, HandSize, angle_of_equivalent_deg
from handviz.core.errors import HandvizError
from handviz.core.files import write_files
from handviz.gui.calibration.checkerboard_page import BoardPage
from handviz.gui.calibration.pages import AnglePage, HandSizePage, IntrinsicsPage
from handviz.gui.calibration.panel import intrinsics_summary
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import ViewSettings
from handviz.gui.widgets.controls import named_label
from handviz.gui.widgets.input_filters import let_wheel_scroll
from handviz.sources.images import equivalent_focal_mm

CAMERA_FOLDER = "lens_folder"
CAMERA_FILE_FILTER = "Camera intrinsics (*.json *.yml *.yaml *.xml);;All files (*)"
SAVE_FILTER = "handviz intrinsics (*.json);;OpenCV calibration (*.yml *.yaml)"
YAML_SUFFIXES = (".yml", ".yaml")


class CameraDialog(QDialog):
    """View and controls of a controller's intrinsics and hand size."""

    closed = pyqtSignal()

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Camera intrinsics and hand size")
        self.resize(620, 520)
        self._controller = controller
        self._image_size = (640, 480)
        self._image_path: Path | None = None
        self._showing: tuple[object, ...] = ()
        self.source = named_label("title")
        self.summary = named_label("", wraps=True)
        self.caveat = named_label("faint", wraps=True)
        self.error = named_label("banner", wraps=True)
        self.error.hide()
        self.angle, self.numbers = AnglePage(), IntrinsicsPage()
        self.board, self.hand = BoardPage(), HandSizePage()
        self.pages = QTabWidget()
        self.pages.setDocumentMode(True)
        self._lay_out()
        let_wheel_scroll(self)
        for page in (self.angle, self.numbers, self.board):
            page.chosen.connect(self._use)
        self.hand.chosen.connect(self._use_size)
        self.numbers.refused.connect(self.complain)
        self.angle.exif_wanted.connect(self._use_exif)
        controller.settings_changed.connect(self._show)
        self._show(controller.settings)

    def _lay_out(self) -> None:
        for page, title in (
            (self.angle, "FOV"),
            (self.numbers, "Intrinsics"),
            (self.board, "Checkerboard"),
            (self.hand, "Hand size"),
        ):
            self.pages.addTab(page, title)
        buttons = QHBoxLayout()
        for text, hint, action in (
            (
                "Reset to default (60° assumed)",
                "Assume a FOV of 60° over the longer side",
                lambda: self._use(ASSUMED_CAMERA),
            ),
            (
                "Load…",
                "Load intrinsics saved here, or by OpenCV (YAML, XML, JSON) or ROS (YAML)",
                self._load,
            ),
            ("Save…", "Save these intrinsics as JSON or as OpenCV YAML, to load them for other sources", self._save),
            ("Close", "Close the dialog; changes are already applied", self.close),
        ):
            button = QPushButton(text)
            button.setToolTip(hint)
            button.setAutoDefault(False)
            button.clicked.connect(lambda _=False, do=action: do())
            buttons.addWidget(button)
        column = QVBoxLayout(self)
        for part in (self.source, self.summary, self.caveat, self.error):
            column.addWidget(part)
        column.addWidget(self.pages, 1)
        column.addLayout(buttons)

    def show_image(self, source: str, size: tuple[int, int], path: Path | None) -> None:
        """Set what the intrinsics belong to: name of the source, image size (width, height), file of an image."""
        self.source.setText(f"Applies to: {source}")
        if (size, path) != (self._image_size, self._image_path):
            self._image_size, self._image_path = size, path
            self._show(self._controller.settings)

    def complain(self, message: str) -> None:
        """Show an error message; an empty one hides it."""
        self.error.setText(message)
        self.error.setVisible(bool(message))

    def done(self, result: int) -> None:
        """Report that the dialog closes, in whatever way."""
        self.closed.emit()
        super().done(result)

    def _show(self, settings: ViewSettings) -> None:
        camera_model, size = settings.pipeline.camera_model, self._image_size
        showing = camera_model, settings.pipeline.hand_size, size, self._image_path
        if showing == self._showing:
            return  # other settings must not overwrite what is being typed
        self._showing = showing
        known = camera_model.intrinsics_for(*size)
        self.summary.setText(intrinsics_summary(known, size))
        self.caveat.setText(camera_model.caveat_for(*size))
        self.caveat.setVisible(bool(self.caveat.text()))
        self.angle.show_camera_model(camera_model)
        self.angle.exif.setEnabled(self._image_path is not None)
        if camera_model.mode == "intrinsics" and camera_model.known is not None:
            self.numbers.show_intrinsics(camera_model.known, camera_model.known_size)
        else:
            self.numbers.show_intrinsics(known, size)
        self.hand.show_size(settings.pipeline.hand_size)

    def _use(self, camera_model: CameraModel) -> None:
        self.complain("")
        self._controller.change(camera_model=camera_model)

    def _use_size(self, size: HandSize) -> None:
        self.complain("")
        self._controller.change(hand_size=size)

    def _use_exif(self) -> None:
        millimetres = equivalent_focal_mm(self._image_path) if self._image_path is not None else None
        if millimetres is None:
            self.complain("The EXIF data of this image do not state a 35 mm equivalent focal length.")
        else:
            self._use(CameraModel("angle", round(angle_of_equivalent_deg(millimetres), 1), "diagonal"))

    def _load(self) -> None:
        store = self._controller.store
        path = QFileDialog.getOpenFileName(self, "Load intrinsics", store.text(CAMERA_FOLDER), CAMERA_FILE_FILTER)[0]
        if not path:
            return
        store.save_text(CAMERA_FOLDER, str(Path(path).parent))
        try:
            self._use(read_camera_file(Path(path)))
        except HandvizError as error:
            self.complain(str(error))

    def _save(self) -> None:
        store, camera_model = self._controller.store, self._controller.settings.pipeline.camera_model
        start = str(Path(store.text(CAMERA_FOLDER)) / "intrinsics.json")
        chosen, kind = QFileDialog.getSaveFileName(self, "Save intrinsics", start, SAVE_FILTER)
        if not chosen:
            return
        path = Path(chosen)
        if not path.suffix:
            path = path.with_suffix(".yml" if "OpenCV" in kind else ".json")
        store.save_text(CAMERA_FOLDER, str(path.parent))
        try:
            text = (
                opencv_text(camera_model) if path.suffix.lower() in YAML_SUFFIXES else camera_model_text(camera_model)
            )
            write_files({path: text.encode("utf-8")})
            self._controller.notify(f"Saved {path}")
            self.complain("")
        except HandvizError as error:
            self.complain(str(error))
