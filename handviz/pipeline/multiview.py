"""Moment -> hands: detector in each view, hands matched by triangulation, one multi-view network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from handviz.core.multiview import LeftOutView, MultiViewHand, ViewHand, check_views, match_hands, view_flaw
from handviz.core.records import Detection, Frame, FrameResult, Handedness, Intrinsics, ModelId
from handviz.detection.crop import crop_hand
from handviz.detection.detectors import Detector, make_detector
from handviz.models.base import LoadContext
from handviz.models.multiview import MultiViewModel, ViewCrop, load_multi_view_model
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.sources.rig_moments import Moment, MomentSource, MomentView

SingleView = Callable[[Frame, Intrinsics], FrameResult]
"""Reconstructs the hands of one view, where no other one fits it."""


@dataclass(frozen=True, eq=False)
class _Found:
    """What the detector found in a view."""

    view: MomentView
    detections: tuple[Detection, ...]

    def hand(self, number: int) -> ViewHand:
        detection = self.detections[number]
        return ViewHand(self.view.name, self.view.camera, detection.keypoints_px, detection.handedness, detection.score)


class MultiViewPipeline:
    """Reconstruction of the hands of moments; one thread uses it."""

    def __init__(
        self,
        model: MultiViewModel,
        make_detector: Callable[[], Detector],
        single_view: SingleView,
        *,
        is_clip: bool,
        max_hands: int,
        close_single_view: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the models. ``is_clip``: moments follow each other, so that every view has a detector of its own."""
        self._close_single_view = close_single_view
        self._model, self._make_detector, self._single_view = model, make_detector, single_view
        self._is_clip, self._max_hands = is_clip, max_hands
        self._detectors: dict[str, Detector] = {}

    @property
    def model(self) -> ModelId:
        """The id of the network of several views."""
        return self._model.id

    def process(self, moment: Moment) -> list[MultiViewHand]:
        """Return the hands of a moment, best seen first; HandvizError if a network fails.

        Where no two views show one hand, the best single view is reconstructed by itself.
        """
        found = [_Found(view, self._detector(view.name).detect(view.frame)[: self._max_hands]) for view in moment.views]
        hands = [[of.hand(number) for number in range(len(of.detections))] for of in found]
        groups = match_hands(hands)[: self._max_hands]
        if not groups:
            return self._alone(found)
        return [self._reconstructed(found, groups, group) for group in groups]

    def close(self) -> None:
        """Free the detectors and the models of one view."""
        for detector in self._detectors.values():
            detector.close()
        self._detectors.clear()
        self._close_single_view()

    def _detector(self, view: str) -> Detector:
        key = view if self._is_clip else ""
        if key not in self._detectors:
            self._detectors[key] = self._make_detector()
        return self._detectors[key]

    def _reconstructed(
        self, found: Sequence[_Found], groups: Sequence[Mapping[int, int]], group: Mapping[int, int]
    ) -> MultiViewHand:
        detections = [found[view].detections[number] for view, number in group.items()]
        side = _common_side(detections)
        crops = []
        for view, detection in zip(group, detections, strict=True):
            of = found[view].view
            crop = crop_hand(of.frame.image, replace(detection, handedness=side), self._model.crop)
            crops.append(ViewCrop(of.name, crop, of.camera))
        return MultiViewHand(
            hand=self._model.reconstruct(crops),
            detection=crops[0].crop.detection,
            views=tuple(crop.name for crop in crops),
            left_out=_left_out(found, groups, group),
        )

    def _alone(self, found: Sequence[_Found]) -> list[MultiViewHand]:
        best = [of.hand(_best(of.detections)) for of in found if of.detections]
        check = check_views(best)
        if not check.kept:
            return []
        of = next(of for of in found if of.view.name == check.kept[0])
        result = self._single_view(of.view.frame, of.view.camera.intrinsics)
        left_out = (*check.left_out, *_without_hand(found))
        pairs = list(zip(result.hands, result.detections, strict=True))[: self._max_hands]
        return [MultiViewHand(hand, detection, check.kept, left_out) for hand, detection in pairs]


def _best(detections: Sequence[Detection]) -> int:
    return int(np.argmax([detection.score for detection in detections]))


def _common_side(detections: Sequence[Detection]) -> Handedness:
    """Return the side that the views' scores favour."""
    votes: dict[Handedness, float] = {}
    for detection in detections:
        votes[detection.handedness] = votes.get(detection.handedness, 0.0) + detection.score
    return max(votes, key=lambda side: votes[side])


def _left_out(
    found: Sequence[_Found], groups: Sequence[Mapping[int, int]], group: Mapping[int, int]
) -> tuple[LeftOutView, ...]:
    """Return the views that do not belong to a hand: without one, with other hands only, or with one that misfits."""
    kept, left = [found[view].hand(number) for view, number in group.items()], list(_without_hand(found))
    for number, of in enumerate(found):
        if number in group or not of.detections:
            continue
        taken = {other[number] for other in groups if number in other}
        free = [at for at in range(len(of.detections)) if at not in taken]
        if free:
            best = free[_best([of.detections[at] for at in free])]
            left.append(view_flaw(of.hand(best), kept))
        else:
            left.append(LeftOutView(of.view.name, "no hand", "only other hands are found in it"))
    return tuple(left)


def _without_hand(found: Sequence[_Found]) -> tuple[LeftOutView, ...]:
    return tuple(LeftOutView(of.view.name, "no hand", "no hand is found in it") for of in found if not of.detections)


class LazySingleView:
    """The models of one view, which are loaded when a view is first alone."""

    def __init__(self, settings: PipelineSettings, config: PipelineConfig) -> None:
        self._settings, self._config = settings, replace(config, video=False, preload_others=False)
        self._pipeline: Pipeline | None = None

    def __call__(self, frame: Frame, intrinsics: Intrinsics) -> FrameResult:
        """Return the hands of a frame; HandvizError if the model cannot be loaded."""
        if self._pipeline is None:
            self._pipeline = Pipeline(self._settings, self._config)
        return self._pipeline.process_with(frame, intrinsics)

    def close(self) -> None:
        """Free the models."""
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None


def pipeline_for_rig(source: MomentSource, settings: PipelineSettings, config: PipelineConfig) -> MultiViewPipeline:
    """Return the pipeline of a rig; HandvizError if the multi-view network cannot be used."""
    model = load_multi_view_model(LoadContext(config.model_dir, config.hand_model))
    single_view = LazySingleView(settings, config)
    return MultiViewPipeline(
        model,
        lambda: make_detector(config.detector, max_hands=settings.max_hands, video=source.is_clip),
        single_view,
        is_clip=source.is_clip,
        max_hands=settings.max_hands,
        close_single_view=single_view.close,
    )
