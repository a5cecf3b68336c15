"""Rendered hands whose labels are the stand-in MANO's: a dataset with MANO's vertices for training."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from handviz.data.synthetic.dataset import shard_numbers
from handviz.data.synthetic.generator import images_file, labels_file
from tests.fake_datasets.stand_in_mano import MANO_FROM_OPEN, mano_pose, stand_in_template, vertex_order

PER_VERTEX = ("visible", "visible_alone")


def relabelled(rendered: Path, folder: Path) -> Path:
    """Copy rendered hands for the stand-in's pose, axes and order of vertices: the same hands and image caches."""
    shutil.copytree(rendered, folder)
    template = stand_in_template()
    manifest = folder / "manifest.json"
    about = json.loads(manifest.read_text(encoding="utf-8")) | {"hand_model": template.fingerprint}
    manifest.write_text(json.dumps(about), encoding="utf-8")
    for shard in shard_numbers(folder):
        labels = dict(np.load(labels_file(folder, shard)))
        labels["pose"] = np.stack([mano_pose(pose) for pose in labels["pose"]]) - template.pose_mean
        for name in ("rotation", "camera_from_wrist"):
            labels[name] = labels[name] @ MANO_FROM_OPEN.T
        np.savez(labels_file(folder, shard), **{name: value.astype(np.float32) for name, value in labels.items()})
        images = dict(np.load(images_file(folder, shard)))
        for name in PER_VERTEX:
            bits = np.unpackbits(images[name], axis=1, count=template.vertex_count)
            images[name] = np.packbits(bits[:, vertex_order()], axis=1)
        np.savez(images_file(folder, shard), **images)
    return folder


def stand_in_network(source: Path, path: Path) -> Path:
    """Convert an open hand's network (ONNX) to the stand-in: the same hands, in its order of vertices and its axes."""
    model, template = onnx.load(source), stand_in_template()
    axes = numpy_helper.from_array(MANO_FROM_OPEN.T.astype(np.float32), "mano_axes")
    order = numpy_helper.from_array(vertex_order().astype(np.int64), "mano_order")
    model.graph.initializer.extend([axes, order])
    for name in ("vertices_m", "vertex_std_m", "keypoints_m", "keypoint_std_m", "rotation"):
        for node in model.graph.node:
            for places in (node.input, node.output):
                for number, place in enumerate(places):
                    if place == name:
                        places[number] = f"open_{name}"
        turned = f"open_{name}"
        if name.startswith("vert"):
            model.graph.node.append(helper.make_node("Gather", [turned, "mano_order"], [f"{name}_ordered"], axis=1))
            turned = f"{name}_ordered"
        # The axes change places without a sign, so standard deviations turn as points do.
        model.graph.node.append(helper.make_node("MatMul", [turned, "mano_axes"], [name]))
    about = {entry.key: entry.value for entry in model.metadata_props}
    about |= {"handviz.hand_model": template.name, "handviz.fingerprint": template.fingerprint}
    helper.set_model_props(model, about)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def write_arrays(arrays: dict[str, Any], path: Path) -> Path:
    """Write a file like MANO's."""
    path.write_bytes(pickle.dumps(arrays, protocol=2))
    return path
