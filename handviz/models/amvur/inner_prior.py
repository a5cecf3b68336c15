"""The prior-net inside ``final``: its own predictions, so that what AMVUR adds to it can be measured."""

import logging
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from handviz.core.errors import HandvizError
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.from_onnx import read_onnx
from handviz.models.amvur.model import HandModel, VariantHeads
from handviz.models.amvur.training_checkpoint import calibration_metadata, load_checkpoint, predictor_of
from handviz.models.onnx_contract import VARIANT_KEY
from handviz.training.families import Predictor

logger = logging.getLogger(__name__)


def prior_inside(model: HandModel) -> HandModel:
    """Return the network that answers with the mesh of the prior-net inside of ``final``; its weights are shared."""
    heads = model.heads
    assert heads.prior is not None
    alone = VariantHeads(heads.camera, heads.prior, None, heads.presence)
    return HandModel(model.backbone, model.features, model.landmark_head, alone)


def inner_prior(path: Path, template: HandTemplate) -> Predictor | None:
    """Return the predictions of the prior-net inside a checkpoint's folder or an ONNX file; None if there is none.

    Also None, with a warning, for a file whose weights cannot be read back.
    """
    if path.suffix != ".onnx":
        model, _, notes = load_checkpoint(path, template)
        return predictor_of(prior_inside(model), template, calibration_metadata(notes)) if has_both(model) else None
    if _variant_of(path) != "final":
        return None
    try:
        exported = read_onnx(path, template)
    except HandvizError as error:
        logger.warning("the prior-net inside %s is not evaluated: %s", path, error)
        return None
    return predictor_of(prior_inside(exported.model), template, exported.metadata.std)


def has_both(model: HandModel) -> bool:
    """Return whether the network has a prior-net beside AMVUR."""
    return model.heads.prior is not None and model.heads.amvur is not None


def _variant_of(path: Path) -> str:
    """Return the variant that an ONNX file names; empty if it names none or cannot be read."""
    try:
        model = onnx.load(path, load_external_data=False)
    except (OSError, DecodeError):
        return ""
    return next((entry.value for entry in model.metadata_props if entry.key == VARIANT_KEY), "")
