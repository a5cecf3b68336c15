"""The family AMVUR: its three models, for the registry."""

from handviz.core.records import ModelId
from handviz.models.base import LoadContext, ModelFamily, ModelSpec, Reconstructor


def _spec(name: ModelId, label: str, hint: str, *provides: str) -> ModelSpec:
    def load(context: LoadContext) -> Reconstructor:
        from handviz.models.reconstructor import load_onnx

        return load_onnx(name, context)

    return ModelSpec(name, label, "amvur", "open_hand", frozenset({"landmarks", *provides}), load, hint=hint)


FAMILY = ModelFamily(
    "amvur",
    "AMVUR",
    models=(
        _spec("prior", "Prior-net", "Pose and shape of the hand model, without attention", "constant_uncertainty"),
        _spec(
            "amvur",
            "AMVUR",
            "Attention between joints and vertices, trained without the prior-net",
            "uncertainty",
            "attention",
        ),
        _spec("final", "Final", "Prior-net and AMVUR, trained jointly", "uncertainty", "attention"),
    ),
    training="handviz.models.amvur.training:TRAINING",
)
