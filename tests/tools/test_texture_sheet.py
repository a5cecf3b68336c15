"""The contact sheet of textured hands."""

import cv2
import numpy as np

import tools
from handviz.data.synthetic.dataset import Crops
from tests.tiny_network import write_network
from tools import texture_sheet


def test_the_sheet_shows_held_out_hands_from_all_sides(small_texture, texture_hands, monkeypatch, tmp_path):
    write_network(tmp_path / "handviz_final.onnx")
    (tmp_path / "handviz_texture.onnx").write_bytes(small_texture.onnx.read_bytes())
    monkeypatch.setattr(texture_sheet, "held_out_crops", lambda *_, **__: [Crops(texture_hands, 2)])
    out = tmp_path / "deep" / "sheet.png"
    assert tools.run("texture_sheet", ["--out", str(out), "--count", "2", "--model-dir", str(tmp_path)]) == 0
    image = cv2.imread(str(out))
    assert image.shape == (2 * 224, 7 * 224, 3)
    assert not np.array_equal(image[:224, 224:448], image[:224, 448:672])
