"""An ONNX file that returns the same hand for every crop, with the outputs of the real ones."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from handviz.core.records import CROP_SIZE, FloatArray
from handviz.hand_models.open_hand import load_open_hand
from handviz.rendering.options import DEFAULT_COMPARED


def constant_hand() -> dict[str, FloatArray]:
    """Return the rest pose, upright in the crop, palm to the camera, with a standard deviation that grows along x."""
    template = load_open_hand()
    vertices = template.vertices_m.astype(np.float32)
    keypoints = (template.keypoint_regressor @ vertices).astype(np.float32)
    up = keypoints[9] - keypoints[0]
    across = keypoints[17] - keypoints[5]
    y_axis = -up / np.linalg.norm(up)
    x_axis = across - y_axis * (across @ y_axis)
    x_axis /= np.linalg.norm(x_axis)
    rotation = np.stack([x_axis, y_axis, np.cross(x_axis, y_axis)])
    seen = keypoints @ rotation.T
    extent = np.ptp(seen[:, :2], axis=0).max()
    scale = 2 / 1.8 / extent
    middle = (seen[:, :2].min(axis=0) + seen[:, :2].max(axis=0)) / 2
    std = 0.002 + 0.1 * np.abs(vertices)
    return {
        "vertices_m": vertices,
        "vertex_std_m": std,
        "keypoints_m": keypoints,
        "keypoint_std_m": np.full((21, 3), 0.003),
        "rotation": rotation,
        "scale": np.array(scale),
        "translation": -scale * middle,
    }


def write_network(
    path: Path,
    variant: str = "final",
    *,
    fingerprint: str | None = None,
    hand: dict[str, FloatArray] | None = None,
) -> Path:
    """Write a network that returns ``hand`` for every crop."""
    zero = helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0)
    nodes = [zero, helper.make_node("Mul", ["mean", "nothing"], ["zero"])]
    constants = [numpy_helper.from_array(np.zeros(1, np.float32), "nothing")]
    outputs = []
    for name, value in (hand or constant_hand()).items():
        array = np.asarray(value, np.float32)
        constants.append(numpy_helper.from_array(array[None] if array.ndim else array, f"{name}_constant"))
        shape = ["batch"] + [1] * array.ndim
        constants.append(numpy_helper.from_array(np.array([-1] + [1] * array.ndim, np.int64), f"{name}_batch_shape"))
        nodes.append(helper.make_node("Reshape", ["zero", f"{name}_batch_shape"], [f"{name}_zero"]))
        nodes.append(helper.make_node("Add", [f"{name}_zero", f"{name}_constant"], [name]))
        shape = ["batch", *array.shape]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, CROP_SIZE, CROP_SIZE])
    graph = helper.make_graph(nodes, "constant_hand", [image], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    chosen = load_open_hand().fingerprint if fingerprint is None else fingerprint
    metadata = {"handviz.variant": variant, "handviz.hand_model": "open_hand", "handviz.fingerprint": chosen}
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def write_all_networks(folder: Path) -> Path:
    """Write one such network per model, named as the real files."""
    for variant in DEFAULT_COMPARED:
        write_network(folder / f"handviz_{variant}.onnx", variant)
    return folder
