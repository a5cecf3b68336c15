"""Rendered hands whose labels are the stand-in MANO's: what a dataset with MANO's vertices looks like to training."""

import json
import shutil
from pathlib import Path

import numpy as np

from handviz.data.synthetic.dataset import shard_numbers
from handviz.data.synthetic.generator import labels_file, pictures_file
from handviz.data.tiny.stand_in_mano import MANO_FROM_OPEN, mano_pose, stand_in_template, vertex_order

PER_VERTEX = ("visible", "visible_alone")


def relabelled(rendered: Path, folder: Path) -> Path:
    """A copy of rendered hands for the stand-in's pose, axes and order of vertices: the same hands to the bit."""
    shutil.copytree(rendered, folder, ignore=shutil.ignore_patterns("*.npy"))
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
        pictures = dict(np.load(pictures_file(folder, shard)))
        for name in PER_VERTEX:
            bits = np.unpackbits(pictures[name], axis=1, count=template.vertex_count)
            pictures[name] = np.packbits(bits[:, vertex_order()], axis=1)
        np.savez(pictures_file(folder, shard), **pictures)
    return folder
