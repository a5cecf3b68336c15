"""``handviz evaluate`` on a dataset: its report, its files, its errors."""

import csv

import pytest
from tiny_network import write_network

from handviz.__main__ import main
from handviz.cli import evaluate_official
from handviz.core.records import Detection
from tests.fake_datasets.freihand import write

COUNT = 4


class StandIn:
    """A detector that answers as a function does."""

    def __init__(self, detect):
        self.detect = detect

    def close(self):
        pass


@pytest.fixture(scope="module")
def freihand(tmp_path_factory):
    root = tmp_path_factory.mktemp("freihand") / "data"
    write("freihand", root, COUNT)
    return f"freihand/evaluation:{root}"


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return str(write_network(tmp_path_factory.mktemp("network") / "handviz_final.onnx"))


def test_the_command_prints_the_tables_and_writes_files(freihand, network, tmp_path, capsys):
    table, image = tmp_path / "samples.csv", tmp_path / "pck.png"
    assert main(["evaluate", network, "--data", freihand, "--csv", str(table), "--pck", str(image)]) == 0
    text = capsys.readouterr().out
    assert "freihand/evaluation: 4 samples (the official split has 3,960), crops of the true keypoints" in text
    assert "hand model open_hand" in text
    assert "| Procrustes * |" in text
    with table.open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == [f"{number:08d}" for number in range(COUNT)]
    assert image.stat().st_size > 10_000


def test_the_detectors_crops_are_used_and_what_it_misses_is_counted(freihand, network, capsys, monkeypatch):
    images, asked = [], []

    def detect(frame):
        images.append(frame.image)
        return ()

    def make(choice, *, max_hands, video):
        asked.append((choice, video))
        return StandIn(detect)

    monkeypatch.setattr(evaluate_official, "make_detector", make)
    options = ["--crops", "detector", "--detector", "mediapipe"]
    assert main(["evaluate", network, "--data", freihand, *options]) == 1
    assert asked == [("mediapipe", False)]
    assert "not one of 4 hands of freihand/evaluation was found" in capsys.readouterr().err
    assert len(images) == COUNT


def test_the_detectors_hand_nearest_to_the_annotated_one_is_taken(monkeypatch):
    from fake_dataset import fake_dataset

    dataset = fake_dataset(1)
    hand = dataset.hand(0)
    near, far = hand.keypoints_px + 3, hand.keypoints_px + 500
    found = Detection("left", 0.9, far), Detection("left", 0.8, near)
    monkeypatch.setattr(evaluate_official, "make_detector", lambda *_, **__: StandIn(lambda _: found))
    with evaluate_official.finder("detector") as find:
        found = find(hand, dataset.image(0))
    assert found.handedness == hand.handedness
    assert (found.keypoints_px == near).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--csv", "{folder}/none/samples.csv"], "cannot be written"),
        (["--csv", "{folder}"], "cannot be written"),
        (["--pck", "{folder}/pck.txt"], "must end in"),
        (["--submission", "{folder}/pred.zip"], "a submission has MANO's vertices"),
        (["--submission", "{folder}/pred.zip", "--count", "2"], "every sample of the split"),
        (["--frame-rate", "0"], "must be above 0"),
        (["--plots", "{folder}/plots"], "is for rendered hands"),
        (["--detector", "mediapipe"], "--crops detector"),
    ],
)
def test_what_cannot_be_is_a_message_before_anything_is_computed(freihand, network, tmp_path, capsys, options, message):
    chosen = [option.format(folder=tmp_path) for option in options]
    assert main(["evaluate", network, "--data", freihand, *chosen]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_files_of_one_model_are_not_written_for_two(freihand, network, tmp_path, capsys):
    table = str(tmp_path / "samples.csv")
    assert main(["evaluate", network, network, "--data", freihand, "--csv", table]) == 1
    assert "are of one model" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--csv", "a.csv"], ["--pck", "a.png"], ["--crops", "detector"], ["--frame-rate", "30"]]
)
def test_options_of_datasets_need_one(tmp_path, network, options, capsys):
    assert main(["evaluate", network, "--data", str(tmp_path), *options]) == 1
    assert "--data NAME/SPLIT:ROOT" in capsys.readouterr().err


def test_a_model_of_another_hand_model_is_a_message(freihand, tmp_path, capsys):
    other = write_network(tmp_path / "handviz_final.onnx", fingerprint="of another hand")
    assert main(["evaluate", str(other), "--data", freihand]) == 1
    assert "hand model" in capsys.readouterr().err
