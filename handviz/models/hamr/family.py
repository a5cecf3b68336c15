"""The family HAMR: one model, for the registry."""

from handviz.models.base import LoadContext, ModelFamily, ModelSpec, Reconstructor


def _load(context: LoadContext) -> Reconstructor:
    from handviz.models.reconstructor import load_onnx

    return load_onnx("hamr", context)


FAMILY = ModelFamily(
    "hamr",
    "HAMR",
    models=(
        ModelSpec(
            "hamr",
            "HAMR",
            "hamr",
            "open_hand",
            frozenset({"landmarks", "constant_uncertainty", "heatmaps", "iterations"}),
            _load,
            hint="Heatmaps of the joints, then the hand model's parameters in three iterations",
        ),
    ),
    training="handviz.models.hamr.training:TRAINING",
)
