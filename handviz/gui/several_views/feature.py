"""Connects the page of several views with its thread and the window."""

from collections.abc import Sequence
from pathlib import Path

from PyQt6.QtWidgets import QFileDialog, QTabWidget

from handviz.core.paths import RIG_FILE
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import ViewSettings, drawn_with
from handviz.gui.several_views.page import SeveralViewsPage
from handviz.gui.several_views.player import MomentAnswer, MomentPlayer, OpenedRig, RigOpener
from handviz.gui.widgets.shortcuts import Feature, Shortcut
from handviz.pipeline.settings import MAX_HANDS_OF_CLIPS, PipelineConfig, PipelineSettings
from handviz.rendering.hand_shape import ModelDisplay

PAGE_NAME = "Several views"
LAST_RIG = "last_rig"
RIG_FILTER = "Rigs (*.json);;All files (*)"


class SeveralViews(Feature):
    """Third page of the window; while it is shown the live stream is paused, and else this page is."""

    def __init__(
        self,
        controller: Controller,
        pages: QTabWidget,
        display: ModelDisplay,
        *,
        opener: RigOpener | None = None,
    ) -> None:
        super().__init__()
        self._controller, self._pages = controller, pages
        self.page = SeveralViewsPage(display)
        pages.addTab(self.page, PAGE_NAME)
        self.player = MomentPlayer(opener or (lambda text: open_rig_with(text, controller.settings, controller.config)))
        self._text, self._is_stopped = "", False
        self._generation, self._is_playing, self._resumes = 0, False, False
        self._connect()
        self._apply_settings(controller.settings)

    def shortcuts(self) -> Sequence[Shortcut]:
        """Return the keys of the page and of the dialog."""
        return (
            Shortcut(("F4",), "Several views", self.show_page),
            Shortcut((), "Open rig of several cameras…", self.choose_rig, menu="Source"),
            Shortcut((), "Open sample rig", lambda: self.open(str(RIG_FILE)), menu="Source"),
        )

    def stop(self) -> None:
        """End the thread and free the graphics card."""
        # Signals of the thread may still be queued; they are dropped.
        self._generation += 1
        self._is_stopped = True
        self.player.stop()
        self.page.release_gl()

    @property
    def is_in_front(self) -> bool:
        """Whether the page is shown."""
        return self._pages.currentWidget() is self.page

    def show_page(self) -> None:
        """Show the page."""
        self._pages.setCurrentWidget(self.page)

    def choose_rig(self) -> None:
        """Ask for a rig's file and open it."""
        start = self._controller.store.text(LAST_RIG)
        chosen, _ = QFileDialog.getOpenFileName(self.page, "Open rig", start, RIG_FILTER)
        if chosen:
            self.open(chosen)

    def open(self, text: str) -> None:
        """Open a rig's file and play it."""
        self.show_page()
        self._generation += 1
        self.page.empty(f"Opening {Path(text).name}…")
        self._text = text
        self.player.open(text, self._generation)

    def toggle_playing(self) -> None:
        """Play or pause."""
        self.player.set_playing(not self._is_playing)

    def _connect(self) -> None:
        page, player = self.page, self.player
        page.open.clicked.connect(self.choose_rig)
        page.sample.clicked.connect(lambda: self.open(str(RIG_FILE)))
        page.play.clicked.connect(self.toggle_playing)
        page.step.clicked.connect(player.step)
        page.restart.clicked.connect(player.restart)
        page.views_changed.connect(player.set_off)
        page.file_dropped.connect(self.open)
        player.answered.connect(self._take_answer)
        player.failed.connect(self._take_failure)
        player.playing_changed.connect(self._take_playing)
        self._pages.currentChanged.connect(self._follow_page)
        self._controller.settings_changed.connect(self._apply_settings)

    def _take_answer(self, answer: MomentAnswer) -> None:
        if answer.generation != self._generation:
            return
        if not self.page.panes:
            self.page.title.setText(f"{Path(self._text).name}  ·  {len(answer.moment.views)} views")
            self._controller.store.save_text(LAST_RIG, self._text)
        self.page.show_moment(answer)

    def _take_failure(self, generation: int, message: str) -> None:
        if generation == self._generation:
            self.page.title.setText("")
            self.page.show_error(message)
            self._controller.warn(message)

    def _take_playing(self, is_playing: bool) -> None:
        if self._is_stopped:
            return
        self._is_playing = is_playing
        self.page.show_playing(is_playing=is_playing)

    def _follow_page(self, _: int) -> None:
        """Pause the live stream while this page is in front, and this page while it is not."""
        if self.is_in_front:
            self._controller.pause(True)
            if self._resumes:
                self.player.set_playing(True)
            self._resumes = False
        elif self._is_playing:
            self._resumes = True
            self.player.set_playing(False)

    def _apply_settings(self, settings: ViewSettings) -> None:
        self.page.set_options(drawn_with(settings))


def open_rig_with(text: str, settings: ViewSettings, config: PipelineConfig) -> OpenedRig:
    """Open a rig with the multi-view network; one view left alone goes to the window's model. In the thread."""
    from handviz.data.datasets.rigs import open_rig
    from handviz.pipeline.multiview import pipeline_for_rig

    source = open_rig(text, may_be_live=True)
    single = PipelineSettings(
        model=settings.pipeline.model, hand_size=settings.pipeline.hand_size, max_hands=MAX_HANDS_OF_CLIPS
    )
    return OpenedRig(source, pipeline_for_rig(source, single, config))
