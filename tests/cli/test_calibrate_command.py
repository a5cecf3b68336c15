"""The factor of the variances: fitted on crops, stored in the checkpoint and in the ONNX file."""

import shutil

import onnx
import pytest
import torch
from safetensors.torch import load_file

from handviz.__main__ import main
from handviz.core.errors import HandvizError
from handviz.data.synthetic.dataset import Crops
from handviz.evaluation.calibration import fit_variance_scale
from handviz.evaluation.evaluate import checkpoint_predictor, collect
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.amvur.model import PLAIN_FORM, ModelConfig, build_model
from handviz.models.amvur.training_checkpoint import calibration_metadata, load_checkpoint
from handviz.training.checkpoint import VARIANCE_SCALES, add_metadata, read_metadata, save_checkpoint
from tests.errors import wrong_usage

pytestmark = pytest.mark.slow

COUNT = 4


@pytest.fixture(scope="module")
def calibrated(small_model, rendered_hands, tmp_path_factory):
    """Return a copy of the small model's checkpoint, calibrated on a few crops."""
    folder = tmp_path_factory.mktemp("calibrated") / "last"
    shutil.copytree(small_model.checkpoint, folder)
    assert main(["calibrate", str(folder), "--data", str(rendered_hands), "--count", str(COUNT)]) == 0
    return folder


def scales(folder):
    notes = load_checkpoint(folder, load_open_hand())[2]
    return [notes[name] for name in VARIANCE_SCALES]


def test_calibrated_uncertainties_need_no_further_factor(calibrated, rendered_hands):
    template = load_open_hand()
    answers = collect([Crops(rendered_hands, COUNT)], checkpoint_predictor(calibrated, template), template)
    assert fit_variance_scale(answers) == pytest.approx((1, 1), rel=1e-4)
    assert scales(calibrated) != pytest.approx((1, 1), rel=0.05)


def test_weights_and_other_notes_stay_and_a_second_fit_is_the_same(calibrated, small_model, rendered_hands):
    before, after = (load_file(folder / "model.safetensors") for folder in (small_model.checkpoint, calibrated))
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert read_metadata(calibrated)["commit"] == read_metadata(small_model.checkpoint)["commit"]
    first = scales(calibrated)
    assert main(["calibrate", str(calibrated), "--data", str(rendered_hands), "--count", str(COUNT)]) == 0
    assert scales(calibrated) == pytest.approx(first, rel=1e-4)


def test_the_onnx_file_says_the_factor(rendered_hands, template, tmp_path):
    """Of a plain prior-net, which is exported in half the time of a final."""
    config = ModelConfig("prior", features="global", width=16, regressor_width=16, **PLAIN_FORM)
    notes = {"samples_seen": 1, "train": {"loss": {"vertex_correlation": 0.75}}}
    folder = save_checkpoint(
        tmp_path / "last", build_model(config, template), config, notes, template, {}, family="amvur"
    )
    assert main(["calibrate", str(folder), "--data", str(rendered_hands), "--count", str(COUNT)]) == 0
    assert main(["export", str(folder), "--model-dir", str(tmp_path)]) == 0
    metadata = {item.key: item.value for item in onnx.load(tmp_path / "handviz_prior.onnx").metadata_props}
    found = [float(metadata[f"handviz.{name}"]) for name in VARIANCE_SCALES]
    assert found == pytest.approx(scales(folder), rel=1e-4)
    assert found != pytest.approx((1, 1), rel=0.05)


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ({"vertex_variance_scale": "much"}, "vertex_variance_scale: "),
        ({"samples_seen": "many"}, "samples_seen: "),
    ],
)
def test_what_cannot_be_calibrated_is_said(small_model, tmp_path, capsys, notes, message):
    folder = shutil.copytree(small_model.checkpoint, tmp_path / "last")
    add_metadata(folder, notes)
    assert main(["calibrate", str(folder), "--data", "nowhere", "--count", "4"]) == 1
    assert message in capsys.readouterr().err


def test_no_crops_are_refused(tmp_path):
    with wrong_usage():
        main(["calibrate", str(tmp_path), "--data", "nowhere", "--count", "0"])


@pytest.mark.parametrize("correlation", [-0.1, 1.1, float("nan"), 10**400, "x", None])
def test_correlations_that_are_none_are_said(correlation):
    with pytest.raises(HandvizError, match="vertex_correlation"):
        calibration_metadata({"train": {"loss": {"vertex_correlation": correlation}}})


def test_a_checkpoint_that_cannot_be_written_stays(calibrated, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    before = (calibrated / "model.safetensors").read_bytes()
    monkeypatch.setattr("handviz.training.checkpoint.save_file", full)
    with pytest.raises(HandvizError, match=r"cannot write .*No space left.*unchanged"):
        add_metadata(calibrated, {"vertex_variance_scale": 2.0})
    assert (calibrated / "model.safetensors").read_bytes() == before
    assert not list(calibrated.glob("*.part"))
