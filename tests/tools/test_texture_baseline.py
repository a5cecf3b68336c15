"""The baseline of Table 6: it is trained, loaded and compared with the texture net."""

import numpy as np
import pytest

import tools
from handviz.cli import texture
from handviz.core.errors import HandvizError
from handviz.data.synthetic.dataset import Crops
from handviz.evaluation.texture_scores import Colours, scenes
from tools.texture_baseline import BaselineConfig, baseline_method, train_baseline


@pytest.fixture(scope="module")
def scene(texture_hands, template):
    return next(iter(scenes([Crops(texture_hands, 6)], template)))


def test_the_baseline_learns_and_is_read_back(texture_hands, template, tmp_path, scene):
    train_baseline(BaselineConfig((texture_hands,), tmp_path, epochs=20), template)
    method = baseline_method(tmp_path, template)
    found = method(scene.float_images, scene.points)
    grey = Colours(np.full_like(found.rgb, 0.5), np.full_like(found.rgb, 0.5))
    learnt, untaught = (np.abs(part.albedo - scene.even / 255).mean() for part in (found, grey))
    assert learnt < untaught
    with pytest.raises(HandvizError, match="missing or not the baseline"):
        baseline_method(tmp_path / "nothing", template)


def test_the_tool_trains_and_adds_its_row(small_texture, texture_hands, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(texture, "held_out_crops", lambda *_, **__: [Crops(texture_hands, 8)])
    trained = ["train", "--data", str(texture_hands), "--run", str(tmp_path), "--epochs", "1"]
    assert tools.run("texture_baseline", trained) == 0
    assert tools.run("texture_baseline", ["evaluate", str(tmp_path), "--model", str(small_texture.onnx)]) == 0
    rows = capsys.readouterr().out
    assert all(f"| {name} |" in rows for name in ("texture net", "projective sampling", "global-feature MLP"))
    assert tools.run("texture_baseline", ["evaluate", str(tmp_path / "none")]) == 1
    assert "missing or not the baseline" in capsys.readouterr().err
