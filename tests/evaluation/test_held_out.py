"""The frozen held-out list: what is rendered, how much of it, and whether another machine renders the same."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from handviz.__main__ import main
from handviz.cli import evaluate as command
from handviz.core.errors import ErrorCode
from handviz.core.paths import HELD_OUT_FILE
from handviz.data.synthetic.dataset import Crops, read_labels
from handviz.evaluation import held_out as module
from handviz.evaluation.card import HEAVILY_HIDDEN
from handviz.evaluation.held_out import (
    fractions,
    fractions_without_hand,
    freeze,
    held_out_file,
    held_out_seeds,
    label_warnings,
    labels_digest,
    read_held_out,
    render_held_out,
    render_held_out_moments,
)
from tests.errors import raises, wrong_usage

VISIBLE, HIDDEN, NO_HAND = "visible_hands", "heavily_hidden", "no_hand"


@pytest.fixture
def held_out():
    return read_held_out()


@dataclass(frozen=True)
class FakePlan:
    directory: Path
    seed: int
    count: int
    hidden: tuple[float, float] | None = None
    version: int = 3
    no_hand: float = 0.0
    views: int = 1


@pytest.fixture
def rendered(monkeypatch):
    """Return the plans that the generator would render."""
    plans = []

    def render(plan, workers):
        plans.append(plan)
        yield plan.count

    monkeypatch.setattr(module.generator, "Plan", FakePlan)
    monkeypatch.setattr(module.generator, "render", render)
    return plans


def test_the_list_is_the_issues(held_out):
    assert held_out.count == 8000
    assert [(part.name, part.seed, part.count, part.hidden, part.no_hand, part.views) for part in held_out.parts] == [
        ("visible hands", 990011, 6000, (0.0, 0.5), 0, 1),
        ("heavily hidden", 990013, 2000, (0.5, 0.9), 0, 1),
        ("no hand", 990015, 512, (0.0, 1.0), 1, 1),
        ("moments", 990017, 4000, (0.0, 0.9), 0, 8),
    ]
    assert all(part.labels_sha256 for part in held_out.parts), "every part is frozen"
    assert {990015, 990017} <= held_out_seeds().keys(), "nothing is trained on them"


@pytest.mark.parametrize(("count", "expected"), [(8000, 512), (800, 52), (8, 1), (1, 1)])
def test_crops_without_a_hand_come_beside_those_with_one(held_out, count, expected):
    assert fractions_without_hand(held_out, count) == [expected]
    assert sum(fractions(held_out, count)) == count
    assert fractions_without_hand(read_held_out(held_out_file(2)), count) == []


@pytest.mark.parametrize(("count", "expected"), [(8000, [6000, 2000]), (800, [600, 200]), (3, [2, 1]), (1, [1, 0])])
def test_fewer_crops_are_taken_of_all_parts_alike(held_out, count, expected):
    assert fractions(held_out, count) == expected


@pytest.mark.parametrize("count", [0, -1, 8001])
def test_other_numbers_of_crops_are_said(held_out, count):
    with raises(ErrorCode.BAD_VALUE, match="8000"):
        fractions(held_out, count)


def test_every_part_is_rendered_with_its_seed_and_range(held_out, rendered, tmp_path):
    crops = render_held_out(held_out, tmp_path, 400)
    assert crops == [Crops(tmp_path / VISIBLE, 300), Crops(tmp_path / HIDDEN, 100)]
    assert rendered == [
        FakePlan(tmp_path / VISIBLE, 990011, 300, (0.0, 0.5)),
        FakePlan(tmp_path / HIDDEN, 990013, 100, (0.5, 0.9)),
    ]


def test_crops_without_a_hand_are_rendered_by_themselves(held_out, rendered, tmp_path):
    crops = render_held_out(held_out, tmp_path, 400, no_hand=True)
    assert crops == [Crops(tmp_path / NO_HAND, 26)]
    assert rendered == [FakePlan(tmp_path / NO_HAND, 990015, 26, (0.0, 1.0), no_hand=1.0)]
    render_held_out(held_out, tmp_path, 400, keep=True, no_hand=True)
    assert rendered[1].count == 256
    assert render_held_out(read_held_out(held_out_file(2)), tmp_path, 400, no_hand=True) == []


def test_moments_are_rendered_by_themselves(held_out, rendered, tmp_path):
    assert [part.name for part in held_out.of_moments] == ["moments"]
    assert render_held_out_moments(held_out, tmp_path, 30) == [Crops(tmp_path / "moments", 240)]
    assert render_held_out_moments(held_out, tmp_path, 30, keep=True) == [Crops(tmp_path / "moments", 240)]
    assert render_held_out_moments(held_out, tmp_path, keep=True) == [Crops(tmp_path / "moments", 4000)]
    assert [(plan.seed, plan.count, plan.hidden, plan.views) for plan in rendered] == [
        (990017, 240, None, 8),
        (990017, 256, None, 8),
        (990017, 4000, None, 8),
    ]
    assert render_held_out_moments(read_held_out(held_out_file(2)), tmp_path) == []


@pytest.mark.parametrize("count", [0, -1, 501])
def test_other_numbers_of_moments_are_said(held_out, rendered, tmp_path, count):
    with raises(ErrorCode.BAD_VALUE, match="moments are 500"):
        render_held_out_moments(held_out, tmp_path, count)
    assert not rendered


def test_another_generator_renders_no_moments(held_out, rendered, tmp_path):
    with raises(ErrorCode.VERSION_MISMATCH, match="99"):
        render_held_out_moments(replace(held_out, generator_version=99), tmp_path, 1)


def test_the_frozen_moments_keep_to_the_rule(held_out, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "usable_cores", lambda: 1)
    (moments,) = render_held_out_moments(held_out, tmp_path, 2)
    labels = read_labels(moments.directory, 0)
    assert labels["moment"].tolist() == [0] * 8 + [1] * 8
    heavy = (labels["hidden_share"].reshape(2, 8) >= 0.4).sum(1)
    assert ((heavy >= 1) & (heavy <= 3)).all()


def test_no_crop_of_that_part_shows_a_hand(held_out, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "usable_cores", lambda: 1)
    (empty,) = render_held_out(held_out, tmp_path, 60, no_hand=True)
    assert read_labels(empty.directory, 0)["is_hand"].tolist() == [0] * 4


def test_the_former_set_is_rendered_by_the_former_generator(rendered, tmp_path):
    former = read_held_out(held_out_file(2))
    assert former.generator_version == 2
    render_held_out(former, tmp_path, 400)
    assert rendered == [
        FakePlan(tmp_path / VISIBLE, 990001, 300, (0.0, 0.5), 2),
        FakePlan(tmp_path / HIDDEN, 990003, 100, (0.5, 0.9), 2),
    ]


def test_a_folder_that_is_kept_gets_whole_shards(held_out, rendered, tmp_path):
    crops = render_held_out(held_out, tmp_path, 400, keep=True)
    assert [plan.count for plan in rendered] == [512, 256]
    assert [one.limit for one in crops] == [300, 100]
    render_held_out(held_out, tmp_path, 8000, keep=True)
    assert [plan.count for plan in rendered[2:]] == [6000, 2000]


def test_one_crop_needs_one_part(held_out, rendered, tmp_path):
    assert render_held_out(held_out, tmp_path, 1) == [Crops(tmp_path / VISIBLE, 1)]
    assert len(rendered) == 1


def test_another_generator_is_refused(held_out, rendered, tmp_path):
    with raises(ErrorCode.VERSION_MISMATCH, match="99"):
        render_held_out(replace(held_out, generator_version=99), tmp_path, 8)
    assert not rendered


def test_the_generator_keeps_to_the_ranges(held_out, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "usable_cores", lambda: 1)
    visible, hidden = render_held_out(held_out, tmp_path, 5)
    assert (visible.limit, hidden.limit) == (4, 1)
    assert (read_labels(visible.directory, 0)["hidden_share"] < HEAVILY_HIDDEN).all()
    assert (read_labels(hidden.directory, 0)["hidden_share"] >= HEAVILY_HIDDEN).all()


def changed(change):
    entries = json.loads(HELD_OUT_FILE.read_text(encoding="utf-8"))
    change(entries)
    return json.dumps(entries)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        changed(lambda entries: entries.pop("parts")),
        changed(lambda entries: entries["parts"].clear()),
        changed(lambda entries: entries["parts"][0].update(count=0)),
        changed(lambda entries: entries["parts"][0].update(hidden=[0.5, 0.1])),
        changed(lambda entries: entries["parts"][0].update(hidden=[0.5])),
        changed(lambda entries: entries["parts"][0].update(name="../elsewhere")),
        changed(lambda entries: entries["parts"][0].update(seed=990013)),
        changed(lambda entries: entries["parts"][0].update(first_scales="x")),
        changed(lambda entries: entries["parts"][0].update(no_hand=0.5)),
        changed(lambda entries: [part.update(no_hand=1.0) for part in entries["parts"]]),
        changed(lambda entries: entries["parts"][0].update(views=0)),
        changed(lambda entries: entries["parts"][0].update(views=7)),
        changed(lambda entries: entries["parts"][0].update(views=17, count=17)),
        changed(lambda entries: entries["parts"][2].update(views=2)),
        changed(lambda entries: [part.update(views=2) for part in entries["parts"]]),
    ],
)
def test_a_damaged_list_is_said(tmp_path, text):
    path = tmp_path / "held_out.json"
    path.write_text(text, encoding="utf-8")
    with raises(ErrorCode.FILE_DAMAGED):
        read_held_out(path)


def test_a_missing_list_is_said(tmp_path):
    with raises(ErrorCode.FILE_MISSING):
        read_held_out(tmp_path / "held_out.json")


@pytest.fixture
def held_hands(held_out):
    """Return the list with its parts of hands alone."""
    return replace(held_out, parts=held_out.of(no_hand=False))


@pytest.fixture
def two_parts(rendered_hands, tmp_path, monkeypatch):
    """Both parts show the 16 hands of a shard; a shard has 16 hands."""
    monkeypatch.setattr(module.generator, "SHARD_SIZE", 16)
    for name in (VISIBLE, HIDDEN):
        (tmp_path / name).symlink_to(rendered_hands)
    return [Crops(tmp_path / VISIBLE), Crops(tmp_path / HIDDEN)]


def test_frozen_labels_are_known_again(held_hands, two_parts, tmp_path):
    path = tmp_path / "held_out.json"
    parts = tuple(replace(part, labels_sha256=None, first_scales=None) for part in held_hands.parts)
    assert label_warnings(replace(held_hands, parts=parts), two_parts, tmp_path) == []
    frozen = freeze(replace(held_hands, parts=parts), tmp_path, path)
    assert read_held_out(path) == frozen
    assert label_warnings(frozen, two_parts, tmp_path) == []
    scales = read_labels(two_parts[0].directory, 0)["scale"]
    np.testing.assert_allclose(frozen.parts[0].first_scales, scales[:8], atol=1e-4)


def test_freezing_another_part_leaves_what_is_frozen_as_it_is(held_hands, two_parts, tmp_path):
    """Another machine's rounding changes a digest, not the hands."""
    path = tmp_path / "held_out.json"
    visible, hidden = freeze(held_hands, tmp_path, path).parts
    rounded, unknown = replace(visible, labels_sha256="0" * 64), replace(hidden, labels_sha256=None, first_scales=None)
    assert freeze(replace(held_hands, parts=(rounded, unknown)), tmp_path, path).parts == (rounded, hidden)


def test_other_labels_are_said_but_rounding_is_not(held_hands, two_parts, tmp_path, caplog):
    frozen = freeze(held_hands, tmp_path, tmp_path / "held_out.json")
    visible, hidden = frozen.parts
    rounding = replace(visible, labels_sha256="0" * 64)
    other = replace(hidden, labels_sha256="0" * 64, first_scales=(1.0,) * 8)
    caplog.set_level("INFO")
    (message,) = label_warnings(replace(frozen, parts=(rounding, other)), two_parts, tmp_path)
    assert message.startswith("heavily hidden: these are not the frozen hands")
    assert "visible hands: labels differ from the frozen ones by rounding" in caplog.text
    for scales in (None, (), tuple(range(99))):
        untold = replace(rounding, first_scales=scales)
        assert len(label_warnings(replace(frozen, parts=(untold,)), two_parts, tmp_path)) == 1
    # Only what was rendered is compared.
    assert label_warnings(replace(frozen, parts=(rounding, other)), two_parts[:1], tmp_path) == []


def test_a_shard_cut_short_cannot_be_frozen_nor_compared(held_hands, two_parts, tmp_path, monkeypatch):
    frozen = freeze(held_hands, tmp_path, tmp_path / "held_out.json")
    monkeypatch.setattr(module.generator, "SHARD_SIZE", 256)
    with raises(ErrorCode.EMPTY_INPUT):
        freeze(held_hands, tmp_path, tmp_path / "held_out.json")
    wrong = replace(frozen, parts=tuple(replace(part, labels_sha256="0" * 64) for part in frozen.parts))
    assert label_warnings(wrong, two_parts, tmp_path) == []


def test_a_list_that_cannot_be_written_stays(held_hands, two_parts, tmp_path, monkeypatch):
    path = tmp_path / "held_out.json"
    path.write_text("before", encoding="utf-8")

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("handviz.core.files.os.replace", full)
    with raises(ErrorCode.NOT_WRITABLE, match=r"held_out\.json"):
        freeze(held_hands, tmp_path, path)
    assert path.read_text(encoding="utf-8") == "before"
    assert not list(tmp_path.glob("*.part"))


def test_the_digest_forgives_little_and_nothing_else():
    labels = {"pose": np.full((2, 3), 0.1234), "scale": np.array([8.0, 0.0])}
    assert labels_digest(labels) == labels_digest({"scale": -labels["scale"] * -1 + 1e-5, "pose": labels["pose"]})
    assert labels_digest(labels) != labels_digest({**labels, "scale": np.array([8.01, 0.0])})
    assert labels_digest(labels) != labels_digest({**labels, "pose": labels["pose"].T})


# The command.


@pytest.fixture
def known_crops(rendered_hands, monkeypatch):
    """Replace rendering by the first hands of a folder; return the requested counts of crops with and without hands."""
    asked = []

    def render(held_out, directory, count, *, keep=False, no_hand=False):
        asked.append((directory, count, keep, no_hand))
        return [] if no_hand else [Crops(rendered_hands, 3), Crops(rendered_hands, 1)]

    monkeypatch.setattr(command, "render_held_out", render)
    return asked


def test_without_data_the_held_out_set_is_evaluated(small_model, known_crops, capsys):
    assert main(["evaluate", str(small_model.onnx), "--count", "4"]) == 0
    assert "4 crops of the held-out set" in capsys.readouterr().out
    wanted = [(count, keep) for _, count, keep, no_hand in known_crops if not no_hand]
    assert wanted == [(4, False)]


def test_a_folder_keeps_the_held_out_set(small_model, known_crops, tmp_path, capsys):
    assert main(["evaluate", str(small_model.onnx), "--held-out", str(tmp_path)]) == 0
    assert known_crops[0] == (tmp_path, 8000, True, False)
    assert "4 crops of the held-out set" in capsys.readouterr().out


def test_freezing_evaluates_nothing(known_crops, tmp_path, monkeypatch, capsys):
    frozen, moments = [], []
    monkeypatch.setattr(command, "render_held_out_moments", lambda *of, keep: moments.append((of[1:], keep)) or [])
    monkeypatch.setattr(command, "freeze", lambda held_out, directory, path: frozen.append((directory, path.name)))
    assert main(["evaluate", "nowhere.onnx", "--held-out", str(tmp_path), "--freeze"]) == 0
    assert main(["evaluate", "nowhere.onnx", "--held-out", str(tmp_path), "--freeze", "--generator", "2"]) == 0
    assert frozen == [(tmp_path, "held_out.json"), (tmp_path, "held_out_2.json")]
    assert known_crops[:2] == [(tmp_path, 8000, True, False), (tmp_path, 8000, True, True)]
    assert moments == [((tmp_path, 1), True)] * 2
    assert capsys.readouterr().out == ""


def test_two_sources_of_crops_are_refused(tmp_path):
    with wrong_usage():
        main(["evaluate", "--data", str(tmp_path), "--held-out", str(tmp_path)])
