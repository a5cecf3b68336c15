"""Families of other packages: good ones are listed, bad ones are named once and refused, and the others go on."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from handviz.cli.doctor import check_families
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import HandCrop, NetworkFile, NetworkOutput
from handviz.hand_models.open_hand import load_open_hand
from handviz.models import registry
from handviz.models.base import LoadContext, ModelFamily
from handviz.models.reconstructor import LoadedModel
from handviz.models.registry import list_models, model_ids, model_spec, refused_families, shipped_models
from tests.errors import raises
from tests.hands import made_up_detection
from tests.made_up_families import Answer, MadeUpModel, installed, made_up_family, plain_hand, std_of

OWN = tuple(spec.id for spec in shipped_models())
GOOD = made_up_family()


def test_a_family_of_another_package_is_listed_behind_those_of_handviz() -> None:
    with installed(stranger=GOOD):
        assert model_ids() == (*OWN, "plain")
        assert model_spec("plain").crop.size_px == 128
        assert refused_families() == ()
    assert model_ids() == OWN


def test_a_family_of_handviz_that_does_not_import_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lines = (*registry.BUILT_IN, "tests.no_such_family:FAMILY")
    with caplog.at_level(logging.WARNING), installed(stranger=GOOD), monkeypatch.context() as changed:
        changed.setattr(registry, "BUILT_IN", lines)
        assert model_ids() == (*OWN, "plain")
        (refused,) = refused_families()
    assert (refused.package, refused.line) == ("handviz", "tests.no_such_family:FAMILY")
    assert "no_such_family" in refused.reason
    assert "tests.no_such_family:FAMILY" in caplog.text


def with_spec(**changes: object) -> ModelFamily:
    """Return the good family with a model of other values."""
    return replace(GOOD, models=(replace(GOOD.models[0], **changes),))


BAD = {
    "import": ImportError("no module named torch_of_somebody"),
    "syntax": SyntaxError("invalid syntax"),
    "stop": SystemExit(3),
    "text": "not a family",
    "models": replace(GOOD, models=("plain",)),  # type: ignore[arg-type]
    "twins": replace(GOOD, models=GOOD.models * 2),
    "id": with_spec(id="../plain"),
    "family": with_spec(family="amvur"),
    "hand": with_spec(hand_model="foot"),
    "provisions": with_spec(provides=frozenset({"telepathy"})),
    "crop": with_spec(crop=(224, 224)),
    "loader": with_spec(load=None),
}


@pytest.mark.parametrize("found", BAD.values(), ids=BAD)
def test_a_bad_family_is_named_once_and_the_others_go_on(found: object, caplog: pytest.LogCaptureFixture) -> None:
    with installed(broken_package=found, stranger=GOOD), caplog.at_level(logging.WARNING):
        assert model_ids() == (*OWN, "plain")
        assert model_ids() == (*OWN, "plain")
        (refused,) = refused_families()
    assert (refused.package, refused.line) == ("broken_package", "broken_package:FAMILY")
    assert ["broken_package:FAMILY" in record.getMessage() for record in caplog.records] == [True]


def test_of_two_families_with_one_id_both_are_refused_and_named() -> None:
    other = made_up_family("other", family=GOOD.id)
    with installed(first=GOOD, second=other, third=made_up_family("third")):
        assert model_ids() == (*OWN, "third")
        reasons = {one.package: one.reason for one in refused_families()}
    assert set(reasons) == {"first", "second"}
    assert "second also has the family plain_family" in reasons["first"]
    assert "first also has the family plain_family" in reasons["second"]


def test_a_model_of_one_name_with_a_model_of_handviz_is_refused_and_handviz_keeps_its_own() -> None:
    with installed(impostor=made_up_family("final")):
        assert model_ids() == OWN
        assert model_spec("final").family == "amvur"
        (refused,) = refused_families()
    assert "handviz also has the model final" in refused.reason


def test_the_doctor_names_families_with_their_packages_and_what_is_refused() -> None:
    with installed(stranger=GOOD, broken=ImportError("no torch")):
        found, refused = check_families()
    assert (found.state, refused.state) == ("ok", "warn")
    assert "AMVUR: prior, amvur, final" in found.detail
    assert "Plain_family of stranger: plain" in found.detail
    assert "broken" in refused.detail
    assert "no torch" in refused.detail
    assert refused.remedy


def test_without_other_packages_the_doctor_is_content() -> None:
    with installed():
        (found,) = check_families()
    assert found.state == "ok"


VERTICES, KEYPOINTS = load_open_hand().vertex_count, 21
WITH_STD = {"vertex_std_m": std_of(0.002, VERTICES), "keypoint_std_m": std_of(0.003, KEYPOINTS)}


def answer_with(**changes: object) -> Answer:
    return lambda count: [plain_hand(**changes)] * count


WRONG: dict[str, tuple[Answer, ErrorCode]] = {
    "no list": (lambda _: None, ErrorCode.MODEL_FOREIGN),  # type: ignore[arg-type, return-value]
    "too few": (lambda count: [plain_hand()] * (count - 1), ErrorCode.MODEL_FOREIGN),
    "other records": (lambda count: [{"vertices_m": 1}] * count, ErrorCode.MODEL_FOREIGN),  # type: ignore[list-item]
    "another hand model": (answer_with(vertices_m=np.zeros((799, 3))), ErrorCode.MODEL_FOREIGN),
    "flat keypoints": (answer_with(keypoints_m=np.zeros((21, 2))), ErrorCode.MODEL_FOREIGN),
    "text": (answer_with(scale="large"), ErrorCode.MODEL_FOREIGN),
    "no side": (answer_with(right_hand=None), ErrorCode.MODEL_FOREIGN),
    "not finite": (answer_with(translation=np.array([np.nan, 0])), ErrorCode.NOT_FINITE),
    "half of the deviations": (answer_with(vertex_std_m=WITH_STD["vertex_std_m"]), ErrorCode.MODEL_FOREIGN),
    "negative deviations": (
        answer_with(**WITH_STD | {"keypoint_std_m": std_of(-0.001, KEYPOINTS)}),
        ErrorCode.MODEL_FOREIGN,
    ),
    "flat covariance": (answer_with(**WITH_STD, keypoint_covariance_m2=np.eye(21)), ErrorCode.MODEL_FOREIGN),
    "negative variances": (answer_with(**WITH_STD, keypoint_covariance_m2=-np.eye(63)), ErrorCode.MODEL_FOREIGN),
    "a lopsided covariance": (
        answer_with(**WITH_STD, keypoint_covariance_m2=np.eye(63) + np.eye(63, k=1)),
        ErrorCode.MODEL_FOREIGN,
    ),
    "an infinite covariance": (
        answer_with(**WITH_STD, keypoint_covariance_m2=np.full((63, 63), np.inf)),
        ErrorCode.NOT_FINITE,
    ),
}


@pytest.mark.parametrize(("answer", "code"), WRONG.values(), ids=WRONG)
def test_a_wrong_answer_is_an_error_that_names_the_model(answer: Answer, code: ErrorCode) -> None:
    (spec,) = made_up_family("peculiar", answer).models
    model = LoadedModel(spec, LoadContext())
    with raises(code, match="peculiar"):
        model.reconstruct([crop()])


def test_right_answers_pass() -> None:
    for changes in ({}, WITH_STD, WITH_STD | {"keypoint_covariance_m2": 1e-5 * np.eye(63)}):
        (spec,) = made_up_family("peculiar", answer_with(**changes)).models
        (hand,) = LoadedModel(spec, LoadContext()).reconstruct([crop()])
        assert isinstance(hand, NetworkOutput)
        assert (hand.vertex_std_m is None) == (not changes)


def crop() -> HandCrop:
    return HandCrop(np.zeros((128, 128, 3), np.uint8), np.eye(2, 3), made_up_detection("right"))


@pytest.mark.parametrize("error", [OSError("no such file"), KeyError("weights"), SystemExit(1), MemoryError()])
def test_whatever_loading_or_answering_raises_becomes_an_error_that_names_the_model(error: BaseException) -> None:
    def fail(*_: object) -> list[NetworkOutput]:
        raise error

    (unloadable,) = made_up_family("peculiar", load=fail).models  # type: ignore[arg-type]
    with raises(ErrorCode.MODEL_FOREIGN, match="peculiar"):
        LoadedModel(unloadable, LoadContext())
    (speechless,) = made_up_family("peculiar", fail).models
    with raises(ErrorCode.MODEL_FOREIGN, match="peculiar"):
        LoadedModel(speechless, LoadContext()).reconstruct([crop()])


@pytest.mark.parametrize("changes", [{"template": None}, {"file": "model.onnx"}, {"provider": None}])
def test_a_loaded_model_without_what_it_must_have_is_refused(changes: dict[str, object]) -> None:
    model = MadeUpModel(lambda _: [])
    for name, value in changes.items():
        setattr(model, name, value)
    (spec,) = made_up_family("peculiar", load=lambda _: model).models
    with raises(ErrorCode.MODEL_FOREIGN, match="peculiar"):
        LoadedModel(spec, LoadContext())
    assert isinstance(MadeUpModel.file, NetworkFile)


def test_a_name_that_no_family_has_is_refused_with_the_known_ones() -> None:
    with installed(stranger=GOOD), pytest.raises(HandvizError, match="plain"):
        model_spec("nobody")
    assert {spec.id for spec in list_models()} == set(OWN)
