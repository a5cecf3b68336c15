"""Files that version 0.1 wrote under its own names are read as if this version had written them."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hands import textured_hand
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from handviz.core.camera_model import CameraModel
from handviz.core.records import Detection, PositionUncertainty
from handviz.gui.session.settings import SettingsStore
from handviz.hand_models.template import HandTemplate
from handviz.io.hand_pack import NUMBERS_KEY, pack_hands, unpack_hands
from handviz.models.amvur.model import ModelConfig, build_model
from handviz.models.amvur.training_checkpoint import load_checkpoint
from handviz.training.checkpoint import WEIGHTS, save_checkpoint

SETTINGS_OF_0_1 = """[memory]
settings_version=1

[view]
colour=deviation
lens="{\\"mode\\": \\"angle\\", \\"field_of_view_deg\\": 72.0, \\"side\\": \\"longer\\"}"
opacity=0.5
"""


def test_settings_with_the_former_key_and_value(settings_folder: Path) -> None:
    settings_folder.mkdir(parents=True)
    (settings_folder / "handviz.ini").write_text(SETTINGS_OF_0_1)
    store = SettingsStore()
    found = store.load()
    assert (found.draw.colour, found.draw.opacity) == ("uncertainty", 0.5)
    assert found.pipeline.camera_model == CameraModel("angle", 72.0)
    assert store.notice == ""
    store.save(found)
    assert SettingsStore().load() == found


def former_pack(packed: bytes) -> bytes:
    """Return stored hands with the field names of version 0.1."""
    former = {
        "position_uncertainty": "place_doubt",
        "size_std_fraction": "size_std_share",
        "focal_std_fraction": "focal_std_share",
    }

    def renamed(path: str) -> str:
        return ".".join(former.get(part, part) for part in path.split("."))

    with np.load(io.BytesIO(packed)) as file:
        arrays = {renamed(name): file[name] for name in file.files}
    numbers = {renamed(name): value for name, value in json.loads(arrays[NUMBERS_KEY].tobytes()).items()}
    arrays[NUMBERS_KEY] = np.frombuffer(json.dumps(numbers).encode(), np.uint8)
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def test_stored_hands_with_former_fields() -> None:
    uncertainty = PositionUncertainty(np.diag([0.004, 0.004, 0.02]) ** 2, 0.07)
    hand = dataclasses.replace(textured_hand(), position_uncertainty=uncertainty)
    packed = pack_hands([hand], [Detection("right", 0.9, np.zeros((21, 2)))])
    former = former_pack(packed)
    assert b"place_doubt" in former
    (now,), (then,) = unpack_hands(packed)[0], unpack_hands(former)[0]
    assert then.position_uncertainty is not None
    assert then.position_uncertainty.size_std_fraction == pytest.approx(0.07)
    np.testing.assert_array_equal(then.wrist_std_m, now.wrist_std_m)
    assert then.intrinsics == now.intrinsics


@pytest.mark.slow
def test_a_checkpoint_with_former_names(tmp_path: Path, template: HandTemplate) -> None:
    config = ModelConfig(width=16, regressor_width=16, feature_width=16, feature_layers=1)
    model = build_model(config, template)
    folder = save_checkpoint(tmp_path / "last", model, config, {}, template, {}, family="amvur")
    path = folder / WEIGHTS
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    saved = json.loads(metadata["model"])
    fields = {"features": "evidence", "feature_width": "evidence_width", "feature_layers": "evidence_layers"}
    fields["landmark_stem"] = "witness_stem"
    metadata["model"] = json.dumps({fields.get(name, name): value for name, value in saved.items()})
    weights = {
        name.replace("features.", "evidence.", 1) if name.startswith("features.") else
        name.replace("landmark_head.", "witness.", 1) if name.startswith("landmark_head.") else name: value
        for name, value in load_file(path).items()
    }  # fmt: skip
    assert any(name.startswith("witness.") for name in weights)
    save_file(weights, path, metadata)
    found, found_config, _ = load_checkpoint(folder, template)
    assert found_config == config
    for name, value in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
