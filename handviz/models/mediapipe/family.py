"""The family MediaPipe: one model, for the registry."""

from handviz.core.paths import LANDMARK_FILE
from handviz.models.base import LoadContext, ModelFamily, ModelSpec, Reconstructor


def _load(context: LoadContext) -> Reconstructor:
    from handviz.models.mediapipe.reconstructor import LandmarkReconstructor

    return LandmarkReconstructor(context)


FAMILY = ModelFamily(
    "mediapipe",
    "MediaPipe",
    models=(
        ModelSpec(
            "mediapipe",
            "MediaPipe",
            "mediapipe",
            "open_hand",
            frozenset({"landmarks"}),
            _load,
            hint="The open hand fitted to MediaPipe's landmarks, without uncertainty",
            file_name=LANDMARK_FILE.name,
            is_always_shipped=True,
        ),
    ),
)
