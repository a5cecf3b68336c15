"""Paths of the committed files."""

from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]
ASSETS = PROJECT_ROOT / "assets"
MODELS = PROJECT_ROOT / "models"
MANO_FOLDER = MODELS / "mano"
"""The user's own licensed files, which git ignores."""
OPEN_HAND_FILE = ASSETS / "open_hand.npz"
CLIP_FILE = ASSETS / "hands.mp4"
LANDMARKER_FILE = MODELS / "hand_landmarker.task"
BACKBONE_FILE = MODELS / "mediapipe_hand.safetensors"
CHECKSUM_FILE = MODELS / "SHA256SUMS"
TEXTURE_NAME = "handviz_texture.onnx"


def variant_file(variant: str, model_dir: Path = MODELS) -> Path:
    """Return the path of a model's ONNX file."""
    return model_dir / f"handviz_{variant}.onnx"
