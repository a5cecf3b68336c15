"""Files of MANO parameters: every form in both formats, and files that are damaged or of another hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handviz.core.errors import ErrorCode
from handviz.core.records import Handedness
from handviz.hand_models.mano.conventions import mano_vertices
from handviz.hand_models.mano.parameters import ManoParameters
from handviz.io.mano import FORMS, ManoRecord, PoseForm, fit_message, read_mano, write_mano
from tests.errors import raises
from tests.fake_datasets.stand_in_mano import stand_in_template

SIDES: tuple[Handedness, ...] = ("right", "left")


def records() -> list[ManoRecord]:
    random = np.random.default_rng(2)
    made = []
    for number, side in enumerate(SIDES):
        parameters = ManoParameters(
            side,
            "relative",
            random.normal(scale=0.3, size=45),
            random.normal(size=10),
            random.normal(size=3),
            random.normal(size=3),
            shape_is_published_left=side == "left",
        )
        made.append(ManoRecord(f"{side}.jpg", number, parameters, 0.25, 1.5, "vertices"))
    return [*made, replace(made[0], source="given", mean_error_mm=float("nan"), fitted_to="")]


@pytest.mark.parametrize("suffix", [".json", ".npz"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_hand_again(form: PoseForm, suffix: str, tmp_path: Path) -> None:
    template, path = stand_in_template(), tmp_path / "new" / f"hands{suffix}"
    write_mano(path, records(), template, form)
    found, found_form = read_mano(path, template)
    assert found_form == form
    for before, after in zip(records(), found, strict=True):
        assert (after.source, after.number, after.fitted_to) == (before.source, before.number, before.fitted_to)
        assert after.parameters.handedness == before.parameters.handedness
        np.testing.assert_equal(after.mean_error_mm, before.mean_error_mm)
        vertices = [mano_vertices(one.parameters, template) for one in (before, after)]
        np.testing.assert_allclose(*vertices, atol=2e-7)


def test_the_file_states_its_convention_units_and_joints(tmp_path: Path) -> None:
    path = tmp_path / "hands.json"
    write_mano(path, records(), stand_in_template(), "relative")
    content = json.loads(path.read_text(encoding="utf-8"))
    about, hand = content["about"], content["hands"][1]
    assert about["convention"] == "relative"
    assert "flat_hand_mean=False" in about["hand_pose"]
    assert about["joints"][:4] + about["joints"][-1:] == ["wrist", "index1", "index2", "index3", "thumb3"]
    assert (len(hand["global_orient"]), len(hand["hand_pose"]), len(hand["betas"])) == (3, 45, 10)
    assert hand["side"] == "left"
    assert np.linalg.norm(np.subtract(hand["wrist"], hand["transl"])) > 0.05, "the wrist is not the translation"


def test_a_folder_without_hands_is_an_empty_file(tmp_path: Path) -> None:
    for suffix in (".json", ".npz"):
        write_mano(tmp_path / f"none{suffix}", [], stand_in_template(), "absolute")
        assert read_mano(tmp_path / f"none{suffix}", stand_in_template())[0] == []


def test_another_suffix_and_another_hand_models_mean_are_errors(tmp_path: Path) -> None:
    template = stand_in_template()
    with raises(ErrorCode.UNSUPPORTED_FORMAT, match=r"hands\.pkl: MANO parameters are written as \.json or \.npz"):
        write_mano(tmp_path / "hands.pkl", records(), template, "absolute")
    other = replace(template, pose_mean=template.pose_mean + np.float32(0.1))
    write_mano(tmp_path / "relative.json", records(), template, "relative")
    write_mano(tmp_path / "absolute.json", records(), template, "absolute")
    with raises(ErrorCode.MODEL_MISMATCH, match=r"relative to the mean pose .*--hand-model FILE"):
        read_mano(tmp_path / "relative.json", other)
    assert len(read_mano(tmp_path / "absolute.json", other)[0]) == 3


def spoiled(content: str) -> dict[str, str]:
    """Return invalid JSON files by their fault."""
    whole = json.loads(content)
    short = json.loads(content)
    short["hands"][0]["hand_pose"] = short["hands"][0]["hand_pose"][:44]
    sideless = json.loads(content)
    sideless["hands"][0]["side"] = "upper"
    lacking = json.loads(content)
    del lacking["hands"][0]["betas"]
    return {
        "cut": content[:-40],
        "a list": "[]",
        "nothing": "",
        "no form": json.dumps(whole | {"about": {}}),
        "short": json.dumps(short),
        "sideless": json.dumps(sideless),
        "lacking": json.dumps(lacking),
        "words": content.replace("1.5", '"much"'),
        "not finite": content.replace('"betas": [', '"betas": [NaN, '),
    }


def test_damaged_files_are_messages(tmp_path: Path) -> None:
    template, path = stand_in_template(), tmp_path / "hands.json"
    write_mano(path, records(), template, "absolute")
    for name, content in spoiled(path.read_text(encoding="utf-8")).items():
        path.write_text(content, encoding="utf-8")
        with raises(ErrorCode.FILE_DAMAGED, match=r"hands\.json .*reconstruct --save-mano"):
            pytest.fail(f"{name}: {read_mano(path, template)}")
    archive = tmp_path / "hands.npz"
    write_mano(archive, records(), template, "absolute")
    archive.write_bytes(archive.read_bytes()[:-300])
    with raises(ErrorCode.FILE_DAMAGED, match=r"hands\.npz"):
        read_mano(archive, template)
    with raises(ErrorCode.FILE_MISSING, match=r"none\.npz is missing"):
        read_mano(tmp_path / "none.npz", template)


def test_message_of_fits_to_keypoints_warns_of_thickness() -> None:
    keypoints = replace(records()[0], fitted_to="keypoints")
    assert "do not determine the hand's thickness" in fit_message([keypoints], Path("x.json"))
    assert "vertices, error mean 0.250 mm" in fit_message(records(), Path("x.json"))
