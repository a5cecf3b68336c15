"""``python -m tools.build backbone-reference``: what MediaPipe's landmark network answers, for tests of its weights.

It runs the original file and needs ai-edge-litert for that.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handviz.core.files import open_atomic
from handviz.core.paths import PROJECT_ROOT
from tools.mediapipe_wheel import HAND_LANDMARK, wheel_members

REFERENCE_FILE = PROJECT_ROOT / "tests" / "data" / "mediapipe_hand_reference.npz"
REFERENCE_OUTPUTS = ("screen_px", "presence", "handedness", "world_m")
"""In the order of the file's output tensors."""


def reference_crop() -> NDArray[np.uint8]:
    """Draw an open hand (224, 224, 3) from capsules that MediaPipe still recognises."""
    y, x = np.mgrid[:224, :224].astype(np.float64) + 0.5
    image = np.stack([90 + 0.2 * x, 110 + 0.15 * y, 130 - 0.1 * x], axis=-1)
    fingers: list[tuple[tuple[int, int], tuple[int, int], float]]
    fingers = [((112, 200), (112, 150), 34), ((92, 150), (50, 112), 11), ((92, 120), (80, 52), 10)]
    fingers += [((108, 116), (106, 38), 10.5), ((124, 120), (131, 48), 10), ((138, 128), (154, 72), 8.5)]
    fingers += [((112, 224), (112, 200), 24), ((100, 128), (128, 130), 22)]
    for (start_x, start_y), (end_x, end_y), radius in fingers:
        along_x, along_y = end_x - start_x, end_y - start_y
        fraction = ((x - start_x) * along_x + (y - start_y) * along_y) / (along_x**2 + along_y**2)
        fraction = np.clip(fraction, 0, 1)
        distance = np.hypot(x - start_x - fraction * along_x, y - start_y - fraction * along_y) / radius
        skin = np.array([224.0, 172.0, 140.0]) * (1 - 0.35 * distance[..., None] ** 2)
        image = np.where(distance[..., None] < 1, skin, image)
    return image.clip(0, 255).astype(np.uint8)


def build_reference() -> Path:
    """Run the original file in TensorFlow Lite and store crop and outputs for the tests."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=wheel_members([HAND_LANDMARK])[HAND_LANDMARK])
    interpreter.allocate_tensors()
    crop = reference_crop()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], crop[None].astype(np.float32) / 255)
    interpreter.invoke()
    details = interpreter.get_output_details()
    outputs = {
        name: interpreter.get_tensor(detail["index"])[0]
        for name, detail in zip(REFERENCE_OUTPUTS, details, strict=True)
    }
    with open_atomic(REFERENCE_FILE) as file:
        np.savez_compressed(file, crop=crop, **outputs)
    return REFERENCE_FILE
