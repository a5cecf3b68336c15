"""Frame -> hands: detector, crop, network, refinement and smoothing, for the live program and the commands."""

import itertools
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from handviz.core.camera_model import intrinsics_of_frame
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.network_files import loaded_file
from handviz.core.paths import LANDMARKER_FILE, TEXTURE_NAME
from handviz.core.records import (
    DEFAULT_CROP,
    Detection,
    Frame,
    FrameResult,
    HandCrop,
    HandMesh,
    HandTexture,
    Intrinsics,
    ModelId,
    NetworkFile,
    NetworkRole,
    StageTimes,
)
from handviz.detection.crop import crop_hand, mesh_in_crop
from handviz.detection.detectors import Detector, make_detector
from handviz.detection.landmark_network import LandmarkNetwork
from handviz.detection.tracking import HandTracker, override_handedness
from handviz.hand_models.choice import hand_model, hand_model_for, which_file
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.base import LoadContext
from handviz.models.reconstructor import LoadedModel, ModelCache
from handviz.models.registry import family_members, model_ids
from handviz.pipeline.kalman import ModelSmoothers
from handviz.pipeline.reconstruction import FrameConditions, HandMaker, Reconstruction
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.pipeline.texture_fusion import HandTexturer, TextureCache, Texturer


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
        self._smoothers = ModelSmoothers(settings.smoothing_kind, settings.smoothing)
        self._reset_requested = False
        self._forget_requested = False
        self._texture_error = ""
        self._texturer: HandTexturer | None = None
        self._video = config.video
        self._tracker, self._new_hands_requested = HandTracker(video=config.video), False
        self._last_frame: tuple[int, weakref.ref[NDArray[np.uint8]]] | None = None
        self._model = self._used_model = settings.model
        template = hand_model_for(config.hand_model, config.model_dir)
        self._maker = HandMaker(config)
        open_hand = load_open_hand()
        self._texture_cache = TextureCache(open_hand.faces, open_hand.vertex_count)
        self._owns_models = models is None
        self._cache = models or ModelCache(LoadContext(config.model_dir, config.hand_model))
        first = self._cache.request(settings.model)
        try:
            # In parallel, since both take most of a second on a slow machine.
            self._maker.prepare(template)
            self._landmarker = self._new_landmarker()
            self._detector_file = loaded_file(config.landmarker)
            network = self._loaded(first)
            self.template = network.template
            """The hand model of the chosen model."""
            self._check_hand_model(network)
            self.provider = network.provider
            """The execution provider in use."""
            self.networks: Mapping[NetworkRole, NetworkFile] = self._files(network, with_texture=False)
            """The files in use, without the texture net; ``FrameResult.networks`` has it."""
        except BaseException:
            self._close_models()
            raise
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
            if settings.texture != before.texture:
                self._texture_error = ""
        if settings.model != before.model:
            self._cache.request(settings.model)
        if settings.others != before.others:
            for model in settings.others:
                self._cache.request(model)

    def process(self, frame: Frame) -> FrameResult:
        """Return all hands of a frame; HandvizError if the chosen model cannot be used (the last one comes back)."""
        model = self._begin()
        intrinsics = intrinsics_of_frame(self._current.camera_model, frame)
        return self._process(frame, self._network(model), model, intrinsics)

    def process_with(self, frame: Frame, intrinsics: Intrinsics) -> FrameResult:
        """Process a frame with a K of its own."""
        model = self._begin()
        return self._process(frame, self._network(model), model, intrinsics)

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
            self._forget_requested = True

    def reset(self, *, video: bool | None = None, same_hands: bool = False) -> None:
        """Start again: the next frame does not follow the last one; ``video``: whether later ones follow each other.

        ``same_hands``: it is another position in the same source, so that hands keep numbers, overrides and textures.
        """
        with self._lock:
            self._reset_requested = True
            self._new_hands_requested = self._new_hands_requested or not same_hands
            self._forget_requested = self._forget_requested or not same_hands
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
            reset, self._reset_requested = self._reset_requested, False
            new_hands, self._new_hands_requested = self._new_hands_requested, False
            forget, self._forget_requested = self._forget_requested, False
        # Here and not in ``apply``, whose thread may be another one than that of the smoothers.
        if self._current.smoothing != before.smoothing:
            self._smoothers.set_strength(self._current.smoothing)
        if self._current.smoothing_kind != before.smoothing_kind:
            self._smoothers.set_kind(self._current.smoothing_kind)
        if reset or (self._video and self._current.max_hands != before.max_hands):
            self._landmarker.close()
            self._landmarker = self._new_landmarker()
        if reset:
            self._smoothers.reset()
            self._tracker.reset(video=self._video, same_hands=not new_hands)
            self._last_frame = None
        if forget:
            self._texture_cache.forget()
        return model

    def _process(self, frame: Frame, network: LoadedModel, model: ModelId, intrinsics: Intrinsics) -> FrameResult:
        times_s = [time.perf_counter()]
        side = self._current.side
        is_again, self._last_frame = self._is_last(frame), (frame.number, weakref.ref(frame.image))
        seen, left_out = self._detected(frame)
        tracked = self._tracker.update(seen, frame_key=_key_of(frame), is_again=is_again)
        detections, hidden = override_handedness(tracked, side), self._tracker.hidden
        times_s.append(time.perf_counter())
        crops = [crop_hand(frame.image, detection, network.spec.crop) for detection in detections]
        times_s.append(time.perf_counter())
        conditions = FrameConditions(frame.image, intrinsics, side, self._current.hand_size, self._video)
        made, failure = self._made(crops, network, conditions)
        found_hands = tuple(made.hands[index] for index in made.true_indices)
        if not failure:
            detections = tuple(detections[index] for index in made.true_indices)
        found, errors = self._by_others(model, detections, conditions)
        crops = [made.crops[index] for index in made.true_indices]
        detections = tuple(crop.detection for crop in crops)
        self._tracker.note_sides(detections)
        times_s.append(time.perf_counter())
        time_ms = frame.captured_ms if frame.time_ms is None else frame.time_ms
        others = {model: found_hands, **found}
        if self._video:
            others = self._smoothers.smooth(others, time_ms)
        hands = others.pop(model)
        times_s.append(time.perf_counter())
        textures = self._textures(frame, crops, found_hands, network)
        if textures:
            hands = tuple(
                replace(hand, texture=replace(own, sampled_px=found.vertices_px))
                for hand, own, found in zip(hands, textures, found_hands, strict=True)
            )
            hands = self._texture_cache.fuse(hands) if self._video else hands
            others = {name: _with_textures_of(hands, those) for name, those in others.items()}
        times_s.append(time.perf_counter())
        steps = [(end - start) * 1000 for start, end in itertools.pairwise(times_s)]
        with self._lock:
            error = self._texture_error
        times = StageTimes(*steps)
        files = self._files(network, with_texture=bool(textures))
        compared = tuple(name for name in model_ids() if name == model or name in others or name in errors)
        compared = compared if others or errors else ()
        crops_of = tuple(crops)
        return FrameResult(
            frame,
            model,
            detections,
            hands,
            times,
            error,
            crops_of,
            others,
            errors,
            compared,
            files,
            hidden,
            failure,
            left_out,
        )

    def _detected(self, frame: Frame) -> tuple[tuple[Detection, ...], int]:
        """Return the detections of a frame, and how many more a still image has beyond the most hands of one."""
        found = self._landmarker.detect(frame)
        if self._video:
            return found, 0
        most = self._config.max_hands_of_images
        return found[:most], max(0, len(found) - most)

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
        if with_texture and self._texturer is not None:
            files["texture_net"] = self._texturer.file
        return files

    def _by_others(
        self, model: ModelId, detections: Sequence[Detection], conditions: FrameConditions
    ) -> tuple[dict[ModelId, tuple[HandMesh, ...]], dict[ModelId, str]]:
        """Return the hands of the other models that are requested, and the errors of those that fail."""
        hands: dict[ModelId, tuple[HandMesh, ...]] = {}
        errors: dict[ModelId, str] = {}
        networks = self._cache.requested()
        for name in self._current.others:
            if name == model or name not in networks:
                continue
            network = networks[name]
            try:
                # Raised for every frame, the loader's error would grow by a traceback each time.
                failure = network.exception()
                if isinstance(failure, HandvizError):
                    errors[name] = str(failure)
                else:
                    hands[name] = self._maker.of_detections(detections, network.result(), conditions).hands
            except HandvizError as error:
                errors[name] = str(error)
        return hands, errors

    def _textures(
        self, frame: Frame, crops: list[HandCrop], hands: Sequence[HandMesh], network: LoadedModel
    ) -> list[HandTexture]:
        """Return one texture per hand; none if not requested or unavailable (then ``FrameResult.error`` says why)."""
        with self._lock:
            if not self._current.texture or self._texture_error or not crops:
                return []
        height, width = frame.image.shape[:2]
        try:
            if network.template.name != "open_hand":
                raise HandvizError(
                    f"textures are made for the hand that handviz ships, not for {network.template.name}",
                    ErrorCode.MODEL_MISMATCH,
                )
            if network.spec.crop != DEFAULT_CROP:
                crops = [crop_hand(frame.image, crop.detection) for crop in crops]
            self._texturer = self._texturer or Texturer(self._config.model_dir / TEXTURE_NAME, network.template)
            points = [mesh_in_crop(hand, crop) for hand, crop in zip(hands, crops, strict=True)]
            return self._texturer.texture(crops, points, (width, height))
        except HandvizError as error:
            with self._lock:
                # Not tried again until textures are requested again.
                self._texture_error = f"Without texture: {error}" if self._settings.texture else ""
            return []

    def _check_hand_model(self, network: LoadedModel) -> None:
        """Raise HandvizError if the user gave a hand model and the chosen model is made for another one."""
        path = self._config.hand_model
        if path is not None and hand_model(path).fingerprint != network.template.fingerprint:
            self._landmarker.close()
            raise HandvizError(
                f"{network.file.file} was made for the hand model {network.template.name} "
                f"{network.template.fingerprint[:12]}, not for {path}; {which_file(network.template.name)}",
                ErrorCode.MODEL_MISMATCH,
            )

    def _loaded(self, network: Future[LoadedModel]) -> LoadedModel:
        """Wait for the first network; free the detector if it cannot be loaded."""
        try:
            return network.result()
        except HandvizError:
            self._landmarker.close()
            raise

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


def _key_of(frame: Frame) -> tuple[int, str, int] | None:
    """Return what tells an image of a folder from others; None for images without a name."""
    return (frame.number, frame.name, frame.rotation_deg) if frame.name else None


def _with_textures_of(shown: Sequence[HandMesh], others: Sequence[HandMesh]) -> tuple[HandMesh, ...]:
    """Return another model's hands with the shown model's textures, where the vertices correspond."""
    return tuple(
        replace(hand, texture=own.texture) if hand.hand_model == own.hand_model else hand
        for hand, own in zip(others, shown, strict=True)
    )
