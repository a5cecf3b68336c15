"""Import the hands of one image into Blender, coloured by uncertainty, seen by the camera that took the image.

    handviz reconstruct hand.jpg --out out --mesh ply
    blender --python blender_import.py -- out/hands.json

It runs in Blender's own Python, which needs no handviz. Every hand becomes a mesh with a colour attribute "uncertainty"
and a float attribute "vertex_std_mm" for shaders and geometry nodes. Metres; Blender's z axis is up, the image's camera
looks along y.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

PLY_KINDS = {"float": "<f4", "uchar": "u1"}
SENSOR_MM = 36.0


def read_ply(path: Path) -> tuple[dict[str, Any], Any]:
    """Read a PLY file of handviz: values of the vertices by their names (V,), and triangles (F, 3)."""
    header, _, content = path.read_bytes().partition(b"end_header\n")
    lines = header.decode("ascii").splitlines()
    vertex_count, face_count = (int(line.split()[2]) for line in lines if line.startswith("element "))
    columns = [line.split()[1:] for line in lines if line.startswith("property ") and "list" not in line]
    row = np.dtype([(name, PLY_KINDS[kind]) for kind, name in columns])
    vertices = np.frombuffer(content, row, vertex_count)
    triangle = np.dtype([("count", "u1"), ("vertices", "<i4", (3,))])
    faces = np.frombuffer(content, triangle, face_count, offset=vertices.nbytes)
    return {name: vertices[name] for name in row.names or ()}, faces["vertices"]


def blender_from_camera(points: Any) -> Any:
    """Return points (N, 3) of the camera frame (x right, y down, z forward) in Blender's axes (y forward, z up)."""
    points = np.asarray(points, dtype=np.float64)
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def camera_settings(image: dict[str, Any]) -> dict[str, float]:
    """Return lens, shifts and pixel aspect of Blender's camera from the intrinsics of an entry of hands.json."""
    k, width, height = image["intrinsics"], image["width"], image["height"]
    return {
        "lens": k["fx"] / width * SENSOR_MM,
        "shift_x": (width / 2 - k["cx"]) / width,
        "shift_y": (k["cy"] - height / 2) / width * k["fx"] / k["fy"],
        "pixel_aspect_y": k["fx"] / k["fy"],
    }


def add_hand(bpy: Any, name: str, ply: Path, wrist_camera_m: Any) -> Any:
    """Add one hand to the scene at its place before the camera; return the object."""
    values, faces = read_ply(ply)
    points = np.stack([values["x"], values["y"], values["z"]], axis=1) + np.asarray(wrist_camera_m)
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(blender_from_camera(points).tolist(), [], faces.tolist())
    colour = mesh.color_attributes.new("uncertainty", "BYTE_COLOR", "POINT")
    shades = [values[channel] / 255 for channel in ("red", "green", "blue")]
    colour.data.foreach_set("color_srgb", np.stack([*shades, np.ones(len(points))], axis=1, dtype=np.float32).ravel())
    if "vertex_std_mm" in values:  # not of a model without uncertainty
        std_mm = mesh.attributes.new("vertex_std_mm", "FLOAT", "POINT")
        std_mm.data.foreach_set("value", np.ascontiguousarray(values["vertex_std_mm"]))
    mesh.materials.append(uncertainty_material(bpy))
    mesh.shade_smooth()
    hand = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(hand)
    return hand


def uncertainty_material(bpy: Any) -> Any:
    """Return a material that shows the colour attribute."""
    name = "handviz uncertainty"
    if name in bpy.data.materials:
        return bpy.data.materials[name]
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes = material.node_tree.nodes
    colour = nodes.new("ShaderNodeVertexColor")
    colour.layer_name = "uncertainty"
    shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    material.node_tree.links.new(colour.outputs["Color"], shader.inputs["Base Color"])
    return material


def add_camera(bpy: Any, image: dict[str, Any]) -> Any:
    """Add the image's camera to the scene and make it the active one; return the object."""
    scene, settings = bpy.context.scene, camera_settings(image)
    data = bpy.data.cameras.new("handviz camera")
    data.sensor_fit, data.sensor_width = "HORIZONTAL", SENSOR_MM
    data.lens, data.shift_x, data.shift_y = settings["lens"], settings["shift_x"], settings["shift_y"]
    data.clip_start = 0.01
    camera = bpy.data.objects.new("handviz camera", data)
    camera.rotation_euler = (np.pi / 2, 0, 0)  # a camera of Blender looks along -z: now along y
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.resolution_x, scene.render.resolution_y = image["width"], image["height"]
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = 1.0, settings["pixel_aspect_y"]
    return camera


def import_hands(bpy: Any, hands_json: Path, number: int = 0) -> list[Any]:
    """Add camera and hands of the image with that number in hands.json; return the hands' objects."""
    image = json.loads(hands_json.read_text(encoding="utf-8"))[number]
    add_camera(bpy, image)
    return [
        add_hand(bpy, f"{hand['handedness']} hand {index}", hands_json.parent / hand["mesh"], hand["wrist_camera_m"])
        for index, hand in enumerate(image["hands"])
    ]


if __name__ == "__main__":
    import bpy as blender

    words = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    print(import_hands(blender, Path(words[0]), int(words[1]) if len(words) > 1 else 0))
