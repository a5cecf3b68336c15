"""Frame -> hands: detector, crop, network, posterior and smoothing, for the live program and the commands."""

import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from handviz.core.camera_model import intrinsics_of_frame
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.network_files import loaded_file
from handviz.core.paths import LANDMARKER_FILE, TEXTURE_NAME
from handviz.core.records import (
    Detection,
    Frame,
    FrameResult,
    HandCrop,
    Intrinsics,
    ModelId,
    NetworkFile,
    NetworkRole,
    StageTimes,
)
from handviz.detection.crop import crop_hand
from handviz.detection.detectors import Detector, make_detector
from handviz.detection.landmark_network import LandmarkNetwork
from handviz.detection.tracking import HandTracker, override_handedness
from handviz.hand_models.choice import hand_model, hand_model_for, which_file
from handviz.models.base import LoadContext
from handviz.models.reconstructor import LoadedModel, ModelCache
from handviz.models.registry import family_members, model_ids
from handviz.pipeline.kalman import ModelSmoothers
from handviz.pipeline.reconstruction import FrameConditions, FrameHands, HandMaker, HandsOfModels, Reconstruction
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.pipeline.texture_fusion import FrameTextures, with_textures_of


@dataclass(frozen=True)
class _Requests:
    """What other threads have asked for since the last frame."""

    reset: bool = False
    new_hands: bool = False
    """The reset is to another source, whose hands have other numbers."""
    forget_textures: bool = False


class _Seen(NamedTuple):
    """What the detector found in a frame."""

    detections: tuple[Detection, ...]
    hidden: int
    """How many more the user has hidden."""
    left_out: int
    """How many more a still image has beyond the most hands of one."""


class _StageClock:
    """Measures the stages of a frame, which follow each other."""

    def __init__(self) -> None:
        self._since_s = time.perf_counter()
        self._times_ms: dict[str, float] = {}

    def end(self, stage: str) -> None:
        """Note the end of a stage, a field of ``StageTimes``, and the beginning of the next."""
        since_s, self._since_s = self._since_s, time.perf_counter()
        self._times_ms[stage] = (self._since_s - since_s) * 1000

    def times(self) -> StageTimes:
        """Return the times of the stages that have ended."""
        return StageTimes(**self._times_ms)


class Pipeline:
    """Detection and reconstruction of the hands of frames; ``process`` belongs to one thread, ``apply`` to any."""

    def __init__(
        self,
        settings: PipelineSettings | None = None,
        config: PipelineConfig | None = None,
        models: ModelCache | None = None,
    ) -> None:
        """Load detector and chosen model (HandvizError if that fails); the others load in the background.

        ``models``: those of several pipelines, which their owner closes; None: its own.
        """
        self._settings = self._current = settings = settings or PipelineSettings()
        self._config = config = config or PipelineConfig()
        self._lock = threading.Lock()
        self._requests = _Requests()
        self._video = config.video
        self._tracker = HandTracker(video=config.video)
        self._last_frame: tuple[int, weakref.ref[NDArray[np.uint8]]] | None = None
        self._model = self._used_model = settings.model
        self._maker = HandMaker(config)
        self._smoothers = ModelSmoothers(settings.smoothing_kind, settings.smoothing)
        self._textures = FrameTextures(config.model_dir / TEXTURE_NAME, is_wanted=settings.texture)
        self._owns_models = models is None
        self._cache = models or ModelCache(LoadContext(config.model_dir, config.hand_model))
        try:
            network, self._landmarker, self._detector_file = self._load()
        except BaseException:
            self._close_models()
            raise
        self.template = network.template
        """The hand model of the chosen model."""
        self.provider = network.provider
        """The execution provider in use."""
        self.networks: Mapping[NetworkRole, NetworkFile] = self._files(network, with_texture=False)
        """The files in use, without the texture net; ``FrameResult.networks`` has it."""
        for model in (*settings.others, *(family_members(settings.model) if config.preload_others else ())):
            self._cache.request(model)

    @property
    def model(self) -> ModelId:
        """The model of the next frame."""
        with self._lock:
            return self._model

    @property
    def settings(self) -> PipelineSettings:
        """The settings of the next frame, as they were applied."""
        with self._lock:
            return self._settings

    def apply(self, settings: PipelineSettings, /) -> None:
        """Use these settings from the next frame on.

        What differs from the settings before is requested anew: a model, or one of ``others``, that could not be loaded
        is tried again then, and so is the texture. If ``model`` cannot be loaded, ``process`` raises and goes back.
        """
        with self._lock:
            before, self._settings = self._settings, settings
            if settings.model != before.model:
                self._model = settings.model
        self._textures.want(settings.texture)
        if settings.model != before.model:
            self._cache.request(settings.model)
        if settings.others != before.others:
            for model in settings.others:
                self._cache.request(model)

    def process(self, frame: Frame) -> FrameResult:
        """Return all hands of a frame; HandvizError if the chosen model cannot be used (the last one comes back)."""
        model = self._begin()
        intrinsics = intrinsics_of_frame(self._current.camera_model, frame)
        return self._process(frame, self._network(model), intrinsics)

    def process_with(self, frame: Frame, intrinsics: Intrinsics) -> FrameResult:
        """Process a frame with a K of its own."""
        return self._process(frame, self._network(self._begin()), intrinsics)

    def flip_hand(self, track_id: int, /) -> None:
        """Give the hand of this number the other side than it was shown with, from the next frame on."""
        self._tracker.flip(track_id)

    def hide_hand(self, track_id: int, /) -> None:
        """Reconstruct the hand of this number no more from the next frame on."""
        self._tracker.hide(track_id)

    def show_all_hands(self) -> None:
        """Reconstruct hidden hands again from the next frame on."""
        self._tracker.show_all()

    def forget_texture(self) -> None:
        """Reset the fused textures before the next frame."""
        with self._lock:
            self._requests = replace(self._requests, forget_textures=True)

    def reset(self, *, video: bool | None = None, same_hands: bool = False) -> None:
        """Start again: the next frame does not follow the last one; ``video``: whether later ones follow each other.

        ``same_hands``: it is another position in the same source, so that hands keep numbers, overrides and textures.
        """
        with self._lock:
            before = self._requests
            self._requests = _Requests(
                reset=True,
                new_hands=before.new_hands or not same_hands,
                forget_textures=before.forget_textures or not same_hands,
            )
            self._video = self._video if video is None else video

    def close(self) -> None:
        """Free the detector and stop the loading thread, if it is the pipeline's own."""
        self._close_models()
        self._landmarker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _close_models(self) -> None:
        if self._owns_models:
            self._cache.close()

    def _begin(self) -> ModelId:
        """Carry out requested resets; return the model of this frame, whose settings are ``_current``."""
        with self._lock:
            model, before, self._current = self._model, self._current, self._settings
            requests, self._requests = self._requests, _Requests()
        # Here and not in ``apply``, whose thread may be another one than that of the smoothers.
        if self._current.smoothing != before.smoothing:
            self._smoothers.set_strength(self._current.smoothing)
        if self._current.smoothing_kind != before.smoothing_kind:
            self._smoothers.set_kind(self._current.smoothing_kind)
        if _places(self._current) != _places(before):
            # Other metres for the same pixels: the old ones are no measurements of them.
            self._smoothers.reset()
        if requests.reset or (self._video and self._current.max_hands != before.max_hands):
            self._landmarker.close()
            self._landmarker = self._new_landmarker()
        if requests.reset:
            self._smoothers.reset()
            self._tracker.reset(video=self._video, same_hands=not requests.new_hands)
            self._last_frame = None
        if requests.forget_textures:
            self._textures.forget()
        return model

    def _process(self, frame: Frame, network: LoadedModel, intrinsics: Intrinsics) -> FrameResult:
        clock, current, model = _StageClock(), self._current, network.spec.id
        seen = self._detected(frame)
        clock.end("detect_ms")
        crops = [crop_hand(frame.image, detection, network.spec.crop) for detection in seen.detections]
        clock.end("crop_ms")
        conditions = FrameConditions(frame.image, intrinsics, current.side, current.hand_size, self._video)
        made = self._reconstructed(seen.detections, crops, network, conditions)
        self._tracker.note_sides(made.detections)
        clock.end("reconstruct_ms")
        hands = self._smoothed(made.hands, frame)
        clock.end("smooth_ms")
        hands = self._textured(hands, made, network, frame)
        clock.end("texture_ms")
        others = {name: those for name, those in hands.items() if name != model}
        return FrameResult(
            frame=frame,
            model=model,
            detections=made.detections,
            hands=hands[model],
            times=clock.times(),
            error=self._textures.error,
            crops=tuple(made.crops),
            others=others,
            other_errors=made.errors,
            compared=_compared(model, others, made.errors),
            networks=self._files(network, with_texture=any(hand.texture is not None for hand in hands[model])),
            hidden=seen.hidden,
            failure=made.failure,
            left_out=seen.left_out,
        )

    def _detected(self, frame: Frame) -> _Seen:
        """Return the hands of a frame with their numbers and sides, without those that the user has hidden."""
        is_again, self._last_frame = self._is_last(frame), (frame.number, weakref.ref(frame.image))
        found, left_out = self._landmarker.detect(frame), 0
        if not self._video:
            most = self._config.max_hands_of_images
            found, left_out = found[:most], max(0, len(found) - most)
        tracked = self._tracker.update(found, frame_key=_key_of(frame), is_again=is_again)
        return _Seen(override_handedness(tracked, self._current.side), self._tracker.hidden, left_out)

    def _reconstructed(
        self,
        detections: Sequence[Detection],
        crops: list[HandCrop],
        network: LoadedModel,
        conditions: FrameConditions,
    ) -> FrameHands:
        """Return the hands of all models; those of the chosen one say which are true."""
        model = network.spec.id
        made, failure = self._made(crops, network, conditions)
        # A model that failed says nothing of them: the others get all.
        true = detections if failure else [detections[index] for index in made.true_indices]
        found, errors = self._maker.of_others(true, self._others(model), conditions)
        own = tuple(made.hands[index] for index in made.true_indices)
        return FrameHands([made.crops[index] for index in made.true_indices], {model: own, **found}, errors, failure)

    def _smoothed(self, hands: HandsOfModels, frame: Frame) -> HandsOfModels:
        if not self._video:
            return hands
        return self._smoothers.smooth(hands, frame.captured_ms if frame.time_ms is None else frame.time_ms)

    def _textured(self, hands: HandsOfModels, made: FrameHands, network: LoadedModel, frame: Frame) -> HandsOfModels:
        """Return smoothed hands with textures, if these are wanted and can be had."""
        model = network.spec.id
        found = made.hands[model]
        textures = self._textures.of(frame.image, made.crops, found, network) if self._current.texture else []
        if not textures:
            return hands
        own = tuple(
            replace(hand, texture=replace(texture, sampled_px=before.vertices_px))
            for hand, texture, before in zip(hands[model], textures, found, strict=True)
        )
        own = self._textures.fuse(own) if self._video else own
        return {name: own if name == model else with_textures_of(own, those) for name, those in hands.items()}

    def _is_last(self, frame: Frame) -> bool:
        """Return whether this is the frame that was processed last, as a paused one is with other settings."""
        if self._last_frame is None:
            return False
        number, image = self._last_frame
        return frame.number == number and image() is frame.image

    def _made(
        self, crops: list[HandCrop], network: LoadedModel, conditions: FrameConditions
    ) -> tuple[Reconstruction, str]:
        """Return the chosen model's hands; where others run too, its failure is a message and they go on."""
        try:
            return self._maker.of_crops(crops, network, conditions), ""
        except HandvizError as error:
            if not self._current.others:
                raise
            return Reconstruction([], (), []), str(error)

    def _files(self, network: LoadedModel, *, with_texture: bool) -> dict[NetworkRole, NetworkFile]:
        """Return the files that a result comes from."""
        files: dict[NetworkRole, NetworkFile] = {"network": network.file, "detector": self._detector_file}
        if with_texture and self._textures.file is not None:
            files["texture_net"] = self._textures.file
        return files

    def _others(self, model: ModelId) -> dict[ModelId, Future[LoadedModel]]:
        """Return the other models that are wanted and requested."""
        requested = self._cache.requested()
        return {name: requested[name] for name in self._current.others if name != model and name in requested}

    def _load(self) -> tuple[LoadedModel, Detector, NetworkFile]:
        """Return the chosen model, and the detector with its file."""
        template = hand_model_for(self._config.hand_model, self._config.model_dir)
        # In parallel, since both take most of a second on a slow machine.
        first = self._cache.request(self._model)
        self._maker.prepare(template)
        landmarker = self._new_landmarker()
        try:
            file, network = loaded_file(self._config.landmarker), first.result()
            self._check_hand_model(network)
        except BaseException:
            landmarker.close()
            raise
        return network, landmarker, file

    def _check_hand_model(self, network: LoadedModel) -> None:
        """Raise HandvizError if the user gave a hand model and the chosen model is made for another one."""
        path = self._config.hand_model
        if path is not None and hand_model(path).fingerprint != network.template.fingerprint:
            raise HandvizError(
                f"{network.file.file} was made for the hand model {network.template.name} "
                f"{network.template.fingerprint[:12]}, not for {path}; {which_file(network.template.name)}",
                ErrorCode.MODEL_MISMATCH,
            )

    def _network(self, model: ModelId) -> LoadedModel:
        try:
            network = self._cache.request(model).result()
        except HandvizError:
            with self._lock:
                self._model = self._used_model
            raise
        self._used_model = model
        self.template, self.provider = network.template, network.provider
        self.networks = self._files(network, with_texture=False)
        return network

    def _landmark_network(self) -> LandmarkNetwork | None:
        """Return the landmark network that detector and models share; None if the detector has one of its own."""
        if self._config.detector != "handviz" or self._config.landmarker != LANDMARKER_FILE:
            return None
        return self._cache.shared.landmark_network(self._cache.device)

    def _new_landmarker(self) -> Detector:
        config = self._config
        most = self._current.max_hands if self._video else config.max_hands_of_images
        return make_detector(
            config.detector,
            config.landmarker,
            max_hands=most,
            video=self._video,
            tracker=self._tracker,
            is_beside=config.search_beside,
            landmarks=self._landmark_network(),
            device=self._cache.device,
        )


def _places(settings: PipelineSettings) -> tuple[object, ...]:
    """Return the settings that say where hands are and how large: smoothing starts anew when one changes."""
    return settings.camera_model, settings.hand_size, settings.side


def _key_of(frame: Frame) -> tuple[int, str, int] | None:
    """Return what tells an image of a folder from others; None for images without a name."""
    return (frame.number, frame.name, frame.rotation_deg) if frame.name else None


def _compared(model: ModelId, others: HandsOfModels, errors: Mapping[ModelId, str]) -> tuple[ModelId, ...]:
    """Return the models that were asked, in the registry's order; () if there is only one."""
    if not others and not errors:
        return ()
    return tuple(name for name in model_ids() if name == model or name in others or name in errors)
