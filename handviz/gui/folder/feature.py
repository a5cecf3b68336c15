"""Folder inspection: connects the page, the worker and the controller."""

from collections.abc import Sequence
from pathlib import Path

from PyQt6.QtWidgets import QFileDialog, QTabWidget

from handviz.core.errors import HandvizError
from handviz.gui.folder.exporter import InspectionExporter
from handviz.gui.folder.image_loaders import Preview, PreviewRequest, read_preview
from handviz.gui.folder.inspection_worker import InspectionMaker, InspectionWorker, Progress, make_inspection
from handviz.gui.folder.page import InspectionPage
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import ViewSettings
from handviz.gui.session.source_memory import owner_of, saved_camera_model
from handviz.gui.session.tasks import LatestWins
from handviz.gui.widgets.shortcuts import Feature, Shortcut
from handviz.inspection.columns import (
    ImageRow,
    InspectionRequest,
    Key,
    Listing,
    TableRow,
    checked_folder,
    common_range_mm,
)
from handviz.rendering.hand_shape import ModelDisplay
from handviz.sources.file_kinds import is_image_file

INSPECTED_FOLDER = "inspected_folder"
PAGE_NAME = "Folder inspector"


class InspectionFeature(Feature):
    """Second page of the window; while it is shown the live stream is paused."""

    def __init__(
        self,
        controller: Controller,
        pages: QTabWidget,
        display: ModelDisplay,
        *,
        make: InspectionMaker = make_inspection,
    ) -> None:
        super().__init__()
        self._controller, self._pages = controller, pages
        self.page = InspectionPage(display)
        pages.addTab(self.page, PAGE_NAME)
        self.worker = InspectionWorker(make)
        self._previews = LatestWins(read_preview, "The image cannot be shown")
        self.exporter = InspectionExporter(controller, self.page)
        self._request: InspectionRequest | None = None
        self._is_running = False
        self._listing: Listing | None = None
        self._wanted: Key | None = None
        self._connect()
        self._apply_settings(controller.settings)
        self._offer_last()

    def shortcuts(self) -> Sequence[Shortcut]:
        """Return the keys of the two pages and of the folder dialog."""
        return (
            Shortcut(("F2",), "Live", lambda: self._pages.setCurrentIndex(0)),
            Shortcut(("F3",), "Folder inspector", self.show_page),
            Shortcut(("Ctrl+I",), "Inspect folder…", self.choose_folder, menu="Source"),
        )

    def stop(self) -> None:
        """End all threads; results are on disk already."""
        self.worker.stop()
        self._previews.stop()
        self.exporter.stop()
        self.page.stop()

    @property
    def is_running(self) -> bool:
        """Whether an inspection runs."""
        return self._is_running

    def show_page(self) -> None:
        """Show the page."""
        self._pages.setCurrentWidget(self.page)
        self.page.table.setFocus()

    def choose_folder(self) -> None:
        """Ask for a folder and inspect it."""
        start = self._controller.store.text(INSPECTED_FOLDER)
        chosen = QFileDialog.getExistingDirectory(self.page, "Folder of images to inspect", start)
        if chosen:
            self.inspect(chosen)

    def inspect(self, text: str) -> None:
        """Inspect a folder, or an image's folder with the image selected; stored results are shown at once."""
        path = Path(text)
        self._wanted = None
        if not path.is_dir() and is_image_file(path):
            path, self._wanted = path.parent, (path.name, 0)
        try:
            folder = checked_folder(path)
        except HandvizError as error:
            self._controller.warn(str(error))
            return
        self._controller.store.save_text(INSPECTED_FOLDER, str(folder))
        self.show_page()
        if self._request is None or folder != self._request.folder:
            self._empty()
        self._begin(folder)

    def _begin(self, folder: Path) -> None:
        self._request = self._request_for(folder)
        self._set_running(True)
        self.page.title.setText(f"{folder.name or folder}  ·  {self._request.model}")
        self.page.title.setToolTip(str(folder))
        self.worker.begin(self._request)

    def _empty(self) -> None:
        self._listing = None
        self.page.thumbnails.clear()
        self.page.model.take_listing(Path(), ())
        self._choose(None)

    def _connect(self) -> None:
        page, worker = self.page, self.worker
        page.choose.clicked.connect(self.choose_folder)
        page.resume.clicked.connect(self._toggle_running)
        page.folder_dropped.connect(self._take_drop)
        page.row_chosen.connect(self._choose)
        worker.listed.connect(self._take_listing)
        worker.progressed.connect(self._take_progress)
        worker.ended.connect(self._take_end)
        self._previews.answered.connect(lambda _, preview: self._take_preview(preview))
        self._previews.failed.connect(
            lambda request, message: self._take_preview(Preview(request.file, None, reason=message))
        )
        self._pages.currentChanged.connect(self._follow_page)
        self._controller.settings_changed.connect(self._apply_settings)
        for viewport in (page.detail.large, page.detail.small):
            viewport.failed.connect(self._controller.report_view)

    def _offer_last(self) -> None:
        last = self._controller.store.text(INSPECTED_FOLDER)
        if last and Path(last).is_dir():
            self._request = self._request_for(Path(last))
            self.page.title.setText(f"Last: {Path(last).name or last}")
            self.page.title.setToolTip(last)
        self._set_running(False)

    def _toggle_running(self) -> None:
        if self._is_running:
            self.worker.cancel()
            self.page.resume.setEnabled(False)
        elif self._request is not None:
            self.inspect(str(self._request.folder))

    def _set_running(self, is_running: bool) -> None:
        self._is_running = is_running
        self.page.show_running(is_running, can_start=self._request is not None)

    def _take_drop(self, text: str) -> None:
        if text:
            self.inspect(text)
        else:
            self._controller.warn("Only local files and folders can be dropped here.")

    def _take_listing(self, listing: Listing) -> None:
        if self._request is None:
            return
        self._listing = listing
        self.page.show_ground_truth(listing.has_ground_truth)
        self.page.model.take_listing(self._request.folder, listing.rows)
        self.exporter.set_inspection(self._request, listing.results_path)
        if listing.note:
            self._controller.notify(listing.note)
        row = self.page.model.index_of(self._wanted) if self._wanted is not None else None
        self._wanted = None
        if row is not None or self.page.chosen is None:
            self.page.select_row(row or 0)
        else:
            self._choose(self.page.chosen)

    def _take_progress(self, progress: Progress) -> None:
        self.page.model.take(progress.rows)
        self.page.show_progress(progress, is_running=self._is_running)
        chosen = self.page.chosen
        if chosen is not None and any(row.file == chosen.image.file for row in progress.rows):
            self._choose(chosen)

    def _take_end(self, error: str) -> None:
        self._set_running(False)
        rows = self.page.model.images
        pending = sum(row.state == "waiting" for row in rows)
        self.page.status.setText(error or end_text(rows))
        if error:
            self._controller.warn(error)
        self.page.resume.setText("Resume" if pending or error else "Rescan")

    def _choose(self, row: TableRow | None) -> None:
        """Show a row's image, which is read in a thread; only the newest answer counts."""
        self.page.detail.show_row(row)
        self._previews.forget()
        if row is None or self._request is None or row.image.state == "failed":
            reason = row.image.reason if row is not None else ""
            file = row.image.file if row is not None else ""
            self.page.detail.show_preview(Preview(file, None, reason=reason))
            return
        results_path = self._listing.results_path if self._listing is not None and row.image.state == "done" else None
        self._previews.ask(PreviewRequest(self._request.folder, row.image.file, results_path))

    def _take_preview(self, preview: Preview) -> None:
        self.page.detail.set_range(common_range_mm(self.page.model.images))
        self.page.detail.show_preview(preview)

    def _follow_page(self, _: int) -> None:
        is_in_front = self._pages.currentWidget() is self.page
        self._controller.pause(is_in_front)
        if is_in_front:
            self._follow_network()
        elif self._is_running:
            bar = self.page.bar
            done = f"{bar.value():,} / {bar.maximum():,}"
            self._controller.notify(f"Folder inspection continues in the background ({done}).")

    def _apply_settings(self, settings: ViewSettings) -> None:
        self.page.detail.apply(settings)
        if self._pages.currentWidget() is self.page:
            self._follow_network()

    def _request_for(self, folder: Path) -> InspectionRequest:
        settings, config = self._controller.settings, self._controller.config
        return InspectionRequest(
            folder=folder,
            model=settings.pipeline.model,
            # Not the intrinsics of the live page's source.
            camera_model=saved_camera_model(self._controller.store, owner_of(str(folder), "")),
            hand_size=settings.pipeline.hand_size,
            side=settings.pipeline.side,
            model_dir=config.model_dir,
            detector=config.detector,
        )

    def _follow_network(self) -> None:
        """Show the results of the present model and camera, and inspect what they lack."""
        request = self._request
        if request is None or self._listing is None:
            return
        if self._request_for(request.folder) != request:
            self._begin(request.folder)


def end_text(rows: Sequence[ImageRow]) -> str:
    """Return a summary of a finished or paused inspection."""
    counts = {state: sum(row.state == state for row in rows) for state in ("done", "failed", "waiting")}
    hands = sum(len(row.hands) for row in rows)
    parts = [f"{counts['done']:,} images with {hands:,} hands"]
    parts += [f"{counts['failed']:,} unreadable"] if counts["failed"] else []
    parts += [f"{counts['waiting']:,} pending"] if counts["waiting"] else []
    return ", ".join(parts)
