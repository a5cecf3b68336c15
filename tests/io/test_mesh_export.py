"""Exported meshes, read back by trimesh and byte by byte."""

import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from handviz.core.errors import ErrorCode
from handviz.core.records import FloatArray, Handedness, HandMesh
from handviz.hand_models.open_hand import load_display_mesh, load_open_hand
from handviz.hand_models.uv_atlas import load_uv_atlas
from handviz.io.glb import linear_from_srgb
from handviz.io.mesh_export import export_mesh
from handviz.io.uv_texture import bake_texture
from handviz.rendering.colormap import colours_from_std
from tests.errors import raises
from tests.hands import textured_hand

GLTF_FROM_CAMERA = np.diag([1.0, -1.0, -1.0])
BOTH: tuple[Handedness, ...] = ("left", "right")


def dense(hand: HandMesh) -> FloatArray:
    """Return the vertices (1609, 3) of the dense mesh in metres."""
    return load_display_mesh().lift(hand.vertices_m)


def read_glb(path: Path) -> trimesh.Trimesh:
    """Read the only mesh of a file without merging vertices."""
    (mesh,) = trimesh.load(path, process=False).geometry.values()
    return mesh


def chunks(path: Path) -> tuple[dict[str, Any], bytes]:
    """Read the JSON and binary chunks of a GLB and check their lengths."""
    content = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", content)
    assert (magic, version, length) == (b"glTF", 2, len(content))
    json_length, json_kind = struct.unpack_from("<I4s", content, 12)
    binary_length, binary_kind = struct.unpack_from("<I4s", content, 20 + json_length)
    assert (json_kind, binary_kind, json_length % 4, binary_length % 4) == (b"JSON", b"BIN\0", 0, 0)
    assert 28 + json_length + binary_length == len(content)
    return json.loads(content[20 : 20 + json_length]), content[28 + json_length :]


@pytest.mark.parametrize("colour", ["texture", "uncertainty"])
def test_accessors_of_a_glb_match_its_content(tmp_path: Path, colour: Any) -> None:
    path = tmp_path / "hand.glb"
    assert export_mesh(path, textured_hand(), colour=colour) == [path]
    gltf, binary = chunks(path)
    assert gltf["asset"]["version"] == "2.0"
    assert gltf["buffers"] == [{"byteLength": len(binary)}]
    for view in gltf["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= len(binary)
    (primitive,) = gltf["meshes"][0]["primitives"]
    for name, accessor in primitive["attributes"].items():
        entry = gltf["accessors"][accessor]
        view = gltf["bufferViews"][entry["bufferView"]]
        width = int(entry["type"][-1])
        values = np.frombuffer(binary, "<f4", entry["count"] * width, view["byteOffset"]).reshape(-1, width)
        assert view["byteLength"] == values.nbytes, name
        np.testing.assert_array_equal(values.min(axis=0), np.float32(entry["min"]))
        np.testing.assert_array_equal(values.max(axis=0), np.float32(entry["max"]))
        if name == "NORMAL":
            np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-5)
    assert gltf["accessors"][primitive["indices"]]["count"] == 3 * 3196


@pytest.mark.parametrize("handedness", BOTH)
def test_a_glb_with_colours_of_uncertainty(tmp_path: Path, handedness: Handedness) -> None:
    hand = textured_hand(handedness=handedness)
    export_mesh(tmp_path / "hand.glb", hand, colour="uncertainty", range_mm=(3.0, 9.0))
    mesh = read_glb(tmp_path / "hand.glb")
    np.testing.assert_allclose(mesh.vertices, dense(hand) @ GLTF_FROM_CAMERA, atol=1e-7)
    colours = colours_from_std(load_display_mesh().lift(hand.vertex_std_mm), (3.0, 9.0))
    np.testing.assert_allclose(mesh.visual.vertex_attributes["color"], linear_from_srgb(colours), atol=1e-6)
    assert mesh.volume > 0, "its triangles look outwards"
    assert (mesh.vertex_normals * trimesh.Trimesh(mesh.vertices, mesh.faces).vertex_normals).sum(axis=1).mean() > 0.95


def test_light_is_linear_in_gltf() -> None:
    shades = np.array([0.0, 0.02, 0.5, 0.8, 1.0])
    np.testing.assert_allclose(linear_from_srgb(shades), [0, 0.001548, 0.214041, 0.603827, 1], atol=1e-6)


@pytest.mark.parametrize("handedness", BOTH)
@pytest.mark.parametrize("suffix", [".glb", ".obj"])
def test_a_texture_is_wrapped_around_the_dense_mesh(tmp_path: Path, handedness: Handedness, suffix: str) -> None:
    hand, atlas = textured_hand(handedness=handedness), load_uv_atlas()
    files = export_mesh(tmp_path / f"my hand{suffix}", hand, colour="texture")
    assert [path.name for path in files] == ["my hand.glb" if suffix == ".glb" else "my hand.obj"] + (
        [] if suffix == ".glb" else ["my_hand.mtl", "my_hand.png"]
    )
    mesh = read_glb(files[0]) if suffix == ".glb" else trimesh.load(files[0], process=False)
    rotation = GLTF_FROM_CAMERA if suffix == ".glb" else np.eye(3)
    own_faces = atlas.faces if handedness == "right" else atlas.faces[:, ::-1]
    corners = dense(hand)[atlas.vertex_ids][own_faces] @ rotation
    np.testing.assert_allclose(mesh.vertices[mesh.faces], corners, atol=1e-6)
    upwards = atlas.uv * [1, -1] + [0, 1]
    np.testing.assert_allclose(mesh.visual.uv[mesh.faces], upwards[own_faces], atol=1e-6)
    material = mesh.visual.material
    image = material.baseColorTexture if suffix == ".glb" else material.image
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), bake_texture(hand))
    whole = trimesh.Trimesh(mesh.vertices, mesh.faces)
    assert whole.volume > 0
    edges, counts = np.unique(np.sort(whole.edges, axis=1), axis=0, return_counts=True)
    assert (counts.max(), (counts == 1).sum()) == (2, 20), "open at the wrist alone, once the cut is sewn up"
    assert len(edges) == 4804


def test_the_image_gives_its_detail(tmp_path: Path) -> None:
    hand = textured_hand()
    green = np.full((300, 300, 3), (0, 255, 0), np.uint8)
    export_mesh(tmp_path / "hand.glb", hand, colour="texture", image=green)
    image = np.asarray(read_glb(tmp_path / "hand.glb").visual.material.baseColorTexture.convert("RGB"))
    np.testing.assert_array_equal(image, bake_texture(hand, green))


@pytest.mark.parametrize("vertices", ["model", "display"])
def test_a_ply_with_a_texture_keeps_what_was_seen(tmp_path: Path, vertices: Any) -> None:
    hand = textured_hand()
    export_mesh(tmp_path / "hand.ply", hand, colour="texture", vertices=vertices)
    mesh = trimesh.load(tmp_path / "hand.ply", process=False)
    lift = load_display_mesh().lift if vertices == "display" else np.asarray
    texture = hand.texture
    assert texture is not None
    np.testing.assert_allclose(mesh.vertices, lift(hand.vertices_m), atol=1e-7)
    np.testing.assert_allclose(mesh.visual.vertex_colors[:, :3], np.clip(lift(texture.rgb) * 255, 0, 255), atol=0.51)
    data = mesh.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_allclose(np.ravel(data["seen"]), np.clip(lift(texture.seen), 0, 1), atol=1e-6)
    np.testing.assert_allclose(np.ravel(data["vertex_std_mm"]), lift(hand.vertex_std_mm), rtol=1e-5)


def test_the_hand_models_vertices_in_any_file(tmp_path: Path) -> None:
    hand = textured_hand()
    for suffix in (".glb", ".obj", ".ply"):
        path = tmp_path / f"hand{suffix}"
        assert export_mesh(path, hand, colour="texture", vertices="model") == [path]
        mesh = read_glb(path) if suffix == ".glb" else trimesh.load(path, process=False, maintain_order=True)
        assert len(mesh.vertices) == 778
        np.testing.assert_array_equal(mesh.faces, load_open_hand().faces)


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    hand = textured_hand()
    with raises(ErrorCode.UNSUPPORTED_FORMAT, match=r"hand\.stl: a mesh is written as \.glb, \.obj or \.ply"):
        export_mesh(tmp_path / "hand.stl", hand, colour="plain")
    (tmp_path / "file").touch()
    with raises(ErrorCode.NOT_WRITABLE):
        export_mesh(tmp_path / "file" / "hand.glb", hand, colour="plain")
    with raises(ErrorCode.NOT_PROVIDED):
        export_mesh(tmp_path / "hand.ply", dataclasses.replace(hand, texture=None), colour="texture")
    broken = dataclasses.replace(hand, vertices_m=np.where(np.arange(778)[:, None] == 3, np.nan, hand.vertices_m))
    with raises(ErrorCode.NOT_FINITE):
        export_mesh(tmp_path / "hand.glb", broken, colour="plain")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "hand.mtl").mkdir()
    (tmp_path / "hand.obj").write_text("before")
    with raises(ErrorCode.NOT_WRITABLE, match=r"hand\.mtl cannot be written"):
        export_mesh(tmp_path / "hand.obj", textured_hand(), colour="texture")
    assert (tmp_path / "hand.obj").read_text() == "before"
    assert not list(tmp_path.glob("*.part"))
