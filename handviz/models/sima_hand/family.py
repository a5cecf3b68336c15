"""The family SiMA-Hand: its single-view network is a model, the multi-view one its teacher."""

from handviz.models.base import LoadContext, ModelFamily, ModelSpec, Reconstructor


def _load(context: LoadContext) -> Reconstructor:
    from handviz.models.reconstructor import load_onnx

    return load_onnx("sima", context)


SIMA = ModelSpec(
    "sima",
    "SiMA-Hand",
    "sima_hand",
    "open_hand",
    frozenset({"landmarks", "constant_uncertainty"}),
    _load,
    hint="One view, which learned from eight: a mesh decoded by spirals, and its rotation",
)
FAMILY = ModelFamily(
    "sima_hand",
    "SiMA-Hand",
    models=(SIMA,),
    training="handviz.models.sima_hand.training:TRAINING",
)
