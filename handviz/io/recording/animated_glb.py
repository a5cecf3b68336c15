"""Export of a recording as one animated glTF 2.0 file, with a skinned mesh per hand.

Axes are glTF's (x right, y up, z towards the viewer), metres, the camera at the origin. A hand that is missing for
longer than ``GAP_S`` is scaled to 0 meanwhile, as glTF recommends for hidden nodes.

The recorded vertices become one bind shape, a rigid transform per bone and frame, and a few morph targets. Bind shape
and transforms alternate in least squares, with the hand model's weights fixed (the scheme of Le and Deng, "Smooth
Skinning Decomposition with Rigid Bones", 2012, without its search for weights). The networks displace every vertex
freely, which bones alone do not reproduce: the residuals in the bind pose are reduced to their principal components.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import FloatArray
from handviz.core.skeleton import KEYPOINT_NAMES
from handviz.hand_models.choice import display_mesh, hand_model_named
from handviz.hand_models.open_hand import DisplayMesh
from handviz.hand_models.template import JOINT_COUNT, HandTemplate, joint_keypoints
from handviz.io.glb import GLTF_FROM_CAMERA, Binary, container, linear_from_srgb, material, unit
from handviz.io.mesh_io import faces_for
from handviz.io.recording.recorded import GAP_S, Track
from handviz.rendering.colormap import colours_from_std, fitted_range
from handviz.rendering.hand_shape import PLAIN_COLOURS, VertexNormals

ROUNDS = 3
SHAPES = 16
MAX_BIND_FRAMES = 200
"""Most frames, uniformly sampled, that the bind shape is fitted to."""
CHUNK, MIN_WEIGHT = 256, 1e-6
STIFFNESS = 1e-3
"""Weight of the previous bind shape in its update, where few transforms determine a vertex."""
BONES_PER_VERTEX = 4
AnimationColour = Literal["uncertainty", "plain"]


@dataclass(frozen=True, eq=False)
class SkinFit:
    """N frames of J bones over V vertices with K morph targets, and their errors."""

    bind_m: FloatArray
    """(V, 3) camera axes, wrist at the origin: the shape that bones deform."""
    joints_m: FloatArray
    """(J, 3) of the bind shape."""
    shapes_m: FloatArray
    """(K, V, 3) displacements of the bind shape before skinning."""
    transforms: FloatArray
    """(N, J, 3, 4) rigid, bind shape -> recorded."""
    mix: FloatArray
    """(N, K) weights of the shapes."""
    mean_error_mm: float = 0.0
    """Distance of the skinned vertices from the recorded ones, over all frames."""
    largest_error_mm: float = 0.0


def fit_skin(vertices_m: NDArray[np.floating], template: HandTemplate, *, is_left: bool) -> SkinFit:
    """Fit bones and shapes to vertices (N, V, 3) of a track on the template's topology, ``CHUNK`` frames at a time."""
    weights = np.asarray(template.skinning_weights, np.float64)
    bind = np.asarray(template.vertices_m, np.float64) * np.array([-1.0 if is_left else 1.0, 1.0, 1.0])
    sampled = _uniformly_sampled(vertices_m)
    transforms = _first_transforms(bind, weights, sampled)
    for _ in range(ROUNDS):
        transforms = _next_transforms(bind, weights, sampled, transforms)
        bind = _next_bind(bind, weights, sampled, transforms)
    residuals_m = _in_bind_pose(bind, weights, sampled, transforms)
    offset, shapes = residuals_m.mean(axis=0), _principal(residuals_m)
    joints = np.asarray(template.joint_regressor, np.float64) @ bind
    fit = SkinFit(bind + offset, joints, shapes, np.zeros((0, len(joints), 3, 4)), np.zeros((0, len(shapes))))
    return _fit_all_frames(fit, bind, weights, vertices_m)


def _fit_all_frames(
    fit: SkinFit, bones_bind: FloatArray, weights: FloatArray, vertices_m: NDArray[np.floating]
) -> SkinFit:
    """Fit transforms and weights of the shapes at every frame; bones are fitted with ``bones_bind`` (V, 3)."""
    pieces, mixes, errors = [fit.transforms], [fit.mix], []
    scale = np.square(fit.shapes_m).sum(axis=(1, 2))
    for wanted in _chunks(vertices_m):
        transforms = _first_transforms(bones_bind, weights, wanted)
        for _ in range(ROUNDS):
            transforms = _next_transforms(bones_bind, weights, wanted, transforms)
        residuals_m = _in_bind_pose(fit.bind_m, weights, wanted, transforms)
        mix = np.einsum("nva,kva->nk", residuals_m, fit.shapes_m) / scale
        shown = skinned(fit.bind_m + np.einsum("nk,kva->nva", mix, fit.shapes_m), weights, transforms)
        pieces.append(transforms)
        mixes.append(mix)
        errors.append(np.linalg.norm(shown - wanted, axis=2) * 1000)
    return replace(
        fit,
        transforms=np.concatenate(pieces),
        mix=np.concatenate(mixes),
        mean_error_mm=float(np.concatenate(errors).mean()),
        largest_error_mm=float(max(error.max() for error in errors)),
    )


def skinned(bind: FloatArray, weights: FloatArray, transforms: FloatArray) -> FloatArray:
    """Skin bind shapes (V, 3) or (N, V, 3) by weights (V, J) and transforms (N, J, 3, 4); returns (N, V, 3)."""
    blended = _blended(weights, transforms)
    return (blended[..., :3] @ bind[..., None])[..., 0] + blended[..., 3]


def _blended(weights: FloatArray, transforms: FloatArray) -> FloatArray:
    """Blend transforms per vertex: (N, V, 3, 4)."""
    count, bones = transforms.shape[:2]
    return (weights @ transforms.reshape(count, bones, 12)).reshape(count, len(weights), 3, 4)


def _in_bind_pose(bind: FloatArray, weights: FloatArray, wanted: FloatArray, transforms: FloatArray) -> FloatArray:
    """Return displacements (N, V, 3) of the bind shape which skinning takes to ``wanted``."""
    blended = _blended(weights, transforms)
    return np.linalg.solve(blended[..., :3], (wanted - blended[..., 3])[..., None])[..., 0] - bind


def _principal(offsets_m: FloatArray) -> FloatArray:
    """Return the principal components (K, V, 3) of offsets (N, V, 3), scaled by their standard deviations."""
    flat = (offsets_m - offsets_m.mean(axis=0)).reshape(len(offsets_m), -1)
    _, sizes, directions = np.linalg.svd(flat, full_matrices=False)
    count = min(SHAPES, int((sizes > 1e-6).sum()))
    return (directions[:count] * (sizes[:count, None] / np.sqrt(len(flat)))).reshape(count, *offsets_m.shape[1:])


def _first_transforms(bind: FloatArray, weights: FloatArray, wanted: FloatArray) -> FloatArray:
    """Fit every bone to its vertices as if no other bone influenced them."""
    bones = enumerate(np.flatnonzero(column > MIN_WEIGHT) for column in weights.T)
    return np.stack([_rigid(bind[ids], wanted[:, ids], weights[ids, bone]) for bone, ids in bones], axis=1)


def _next_transforms(bind: FloatArray, weights: FloatArray, wanted: FloatArray, transforms: FloatArray) -> FloatArray:
    """Refit one bone after the other to the residual of the others."""
    transforms = transforms.copy()
    shown = skinned(bind, weights, transforms)
    for bone in range(weights.shape[1]):
        ids = np.flatnonzero(weights[:, bone] > MIN_WEIGHT)
        weight = weights[ids, bone]
        own = transforms[:, bone]
        moved = _moved(bind[ids], own)
        rest = wanted[:, ids] - shown[:, ids] + weight[:, None] * moved
        transforms[:, bone] = _rigid(bind[ids], rest / weight[:, None], weight**2)
        shown[:, ids] += weight[:, None] * (_moved(bind[ids], transforms[:, bone]) - moved)
    return transforms


def _next_bind(bind: FloatArray, weights: FloatArray, wanted: FloatArray, transforms: FloatArray) -> FloatArray:
    """Return the bind shape that these transforms take closest to all frames."""
    blended = _blended(weights, transforms)
    linear, shift = blended[..., :3], blended[..., 3]
    system = np.einsum("nvab,nvac->vbc", linear, linear) + STIFFNESS * len(wanted) * np.eye(3)
    target = np.einsum("nvab,nva->vb", linear, wanted - shift) + STIFFNESS * len(wanted) * bind
    return np.linalg.solve(system, target[..., None])[..., 0]


def _rigid(points: FloatArray, wanted: FloatArray, weight: FloatArray) -> FloatArray:
    """Fit rigid transforms (N, 3, 4) from points (V, 3) to wanted (N, V, 3), by weights (V,) (Kabsch 1976)."""
    fraction = weight / weight.sum()
    centre, centres = fraction @ points, fraction @ wanted
    spread = (wanted - centres[:, None]).transpose(0, 2, 1) @ (fraction[:, None] * (points - centre))
    left, _, right = np.linalg.svd(spread)
    left[..., -1] *= np.sign(np.linalg.det(left @ right))[:, None]
    rotation = left @ right
    return np.concatenate([rotation, (centres - rotation @ centre)[..., None]], axis=2)


def _moved(points: FloatArray, transforms: FloatArray) -> FloatArray:
    """Apply transforms (N, 3, 4) to points (V, 3): (N, V, 3)."""
    return points @ transforms[..., :3].transpose(0, 2, 1) + transforms[:, None, :, 3]


def _uniformly_sampled(vertices_m: NDArray[np.floating]) -> FloatArray:
    count = len(vertices_m)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MAX_BIND_FRAMES)).round().astype(int))
    return np.asarray(vertices_m[chosen], np.float64)


def _chunks(vertices_m: NDArray[np.floating]) -> Iterator[FloatArray]:
    for start in range(0, len(vertices_m), CHUNK):
        yield np.asarray(vertices_m[start : start + CHUNK], np.float64)


@dataclass(frozen=True, eq=False)
class AnimatedHand:
    """A track and the skin fitted to it."""

    track: Track
    fit: SkinFit
    template: HandTemplate


def fit_tracks(tracks: Sequence[Track]) -> list[AnimatedHand]:
    """Fit every track; raises HandvizError if a track's hand model is missing or another one."""
    hands = []
    for track in tracks:
        template = hand_model_named(track.hand_model)
        if track.vertices_m.shape[1] != template.vertex_count:
            count = track.vertices_m.shape[1]
            raise HandvizError(
                f"{track.name}: {count} vertices per hand, an animation needs {template.vertex_count}; "
                "record it again with a model of this hand model.",
                ErrorCode.MODEL_MISMATCH,
            )
        fit = fit_skin(track.vertices_m, template, is_left=track.handedness == "left")
        hands.append(AnimatedHand(track, fit, template))
    return hands


def animated_glb(hands: Sequence[AnimatedHand], *, colour: AnimationColour = "plain") -> bytes:
    """Return the file; ``colour``: plain skin, or each vertex's mean standard deviation over the recording."""
    gltf: dict[str, Any] = {"asset": {"version": "2.0", "generator": "handviz"}, "materials": [material()]}
    parts: dict[str, list[Any]] = {name: [] for name in ("nodes", "meshes", "skins")}
    channels: list[dict[str, Any]] = []
    samplers: list[dict[str, Any]] = []
    binary = Binary()
    roots: list[int] = []
    for hand in hands:
        writer = _HandWriter(binary, hand, first_node=len(parts["nodes"]))
        roots += [writer.first_node, writer.mesh_node]
        parts["meshes"].append(writer.mesh(colour))
        parts["skins"].append(writer.skin())
        parts["nodes"] += writer.nodes(len(parts["meshes"]) - 1)
        for node, path, times, values, interpolation in writer.animated_properties():
            channels.append({"sampler": len(samplers), "target": {"node": node, "path": path}})
            samplers.append({"input": times, "output": values, "interpolation": interpolation})
    gltf |= {"scene": 0, "scenes": [{"nodes": roots}], **parts}
    gltf |= {"animations": [{"name": "recording", "channels": channels, "samplers": samplers}]}
    gltf |= {"bufferViews": binary.views, "accessors": binary.accessors}
    content = bytes(binary.content + bytes(-len(binary.content) % 4))
    return container(gltf | {"buffers": [{"byteLength": len(content)}]}, content)


AnimatedProperty = tuple[int, str, int, int, str]
"""node, path, accessors of times and values, interpolation"""


class _HandWriter:
    """One hand's nodes: 16 joints, then the mesh."""

    def __init__(self, binary: Binary, hand: AnimatedHand, *, first_node: int) -> None:
        self._binary, self._hand, self._fit, self._track = binary, hand, hand.fit, hand.track
        self.first_node, self.mesh_node = first_node, first_node + JOINT_COUNT
        self._template, self._parents = hand.template, hand.template.parents
        self._joint_names = [KEYPOINT_NAMES[keypoint] for keypoint in joint_keypoints(hand.template)]
        self._surface = display_mesh(hand.template)
        self._translations, self._rotations = _local_positions(hand, self._parents)

    def mesh(self, colour: AnimationColour) -> dict[str, Any]:
        """Return the dense mesh in the bind pose, with its morph targets."""
        surface, binary, name = self._surface, self._binary, self._track.name
        vertices = surface.lift(self._fit.bind_m)
        normals = VertexNormals(surface.faces, surface.vertex_count)(vertices.astype(np.float32))
        normals = -normals if self._track.handedness == "left" else normals
        joints, weights = _four_bones(surface, self._template)
        attributes = {
            "POSITION": binary.add_vertices(vertices * GLTF_FROM_CAMERA),
            "NORMAL": binary.add_vertices(unit(normals) * GLTF_FROM_CAMERA),
            "COLOR_0": binary.add_vertices(linear_from_srgb(self._colours(colour))),
            "JOINTS_0": binary.add_joints(joints),
            "WEIGHTS_0": binary.add_vertices(weights),
        }
        faces = binary.add_faces(faces_for(self._track.handedness, surface.faces))
        shapes = [surface.lift(shape) * GLTF_FROM_CAMERA for shape in self._fit.shapes_m]
        primitive: dict[str, Any] = {"attributes": attributes, "indices": faces, "material": 0}
        if not shapes:
            return {"name": name, "primitives": [primitive]}
        primitive["targets"] = [{"POSITION": binary.add_vertices(shape)} for shape in shapes]
        return {"name": name, "primitives": [primitive], "weights": self._fit.mix[0].tolist()}

    def skin(self) -> dict[str, Any]:
        """Return the skin: its joints' nodes and their inverse bind matrices."""
        inverse = np.tile(np.eye(4), (JOINT_COUNT, 1, 1))
        inverse[:, :3, 3] = -self._fit.joints_m * GLTF_FROM_CAMERA
        # glTF writes matrices column by column.
        matrices = self._binary.add_numbers(inverse.transpose(0, 2, 1).reshape(-1, 16))
        joints = list(range(self.first_node, self.mesh_node))
        return {"name": self._track.name, "joints": joints, "inverseBindMatrices": matrices, "skeleton": joints[0]}

    def nodes(self, mesh: int) -> list[dict[str, Any]]:
        """Return the joints in the first frame, and the mesh; mesh and skin have the same index."""
        nodes: list[dict[str, Any]] = []
        for joint, name in enumerate(self._joint_names):
            node: dict[str, Any] = {"name": f"{self._track.name}_{name}"}
            node["translation"] = self._translations[0, joint].tolist()
            node["rotation"] = self._rotations[0, joint].tolist()
            children = [self.first_node + child for child, parent in enumerate(self._parents) if parent == joint]
            nodes.append(node | ({"children": children} if children else {}))
        return [*nodes, {"name": self._track.name, "mesh": mesh, "skin": mesh}]

    def animated_properties(self) -> list[AnimatedProperty]:
        """Return all joints' translations and rotations, the shapes' weights, and the hand's presence as a scale."""
        binary, times = self._binary, self._binary.add_numbers(self._track.times_s)
        properties: list[AnimatedProperty] = []
        for joint in range(JOINT_COUNT):
            node = self.first_node + joint
            translations = binary.add_numbers(self._translations[:, joint])
            rotations = binary.add_numbers(self._rotations[:, joint])
            properties.append((node, "translation", times, translations, "LINEAR"))
            properties.append((node, "rotation", times, rotations, "LINEAR"))
        if len(self._fit.shapes_m):
            mix = binary.add_numbers(self._fit.mix.ravel())
            properties.append((self.mesh_node, "weights", times, mix, "LINEAR"))
        seen_s, is_there = presence(self._track.times_s)
        if len(seen_s) > 1 or not is_there[0]:
            scales = binary.add_numbers(np.repeat(is_there[:, None].astype(float), 3, axis=1))
            properties.append((self.first_node, "scale", binary.add_numbers(seen_s), scales, "STEP"))
        return properties

    def _colours(self, colour: AnimationColour) -> FloatArray:
        if colour == "plain" or self._track.vertex_std_mm is None:
            return np.tile(PLAIN_COLOURS[self._track.handedness], (self._surface.vertex_count, 1))
        std_mm = np.asarray(self._track.vertex_std_mm, np.float64).mean(axis=0)
        lifted = np.maximum(self._surface.lift(std_mm[:, None])[:, 0], 0)
        return colours_from_std(lifted, fitted_range(std_mm))


def presence(times_s: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return step times (M,) and whether the hand is present from each on (M,)."""
    steps: list[tuple[float, bool]] = [(0.0, bool(times_s[0] <= GAP_S))]
    if not steps[0][1]:
        steps.append((float(times_s[0]), True))
    for before, after in pairwise(times_s):
        if after - before > GAP_S:
            steps += [(float(before) + GAP_S / 2, False), (float(after), True)]
    return np.array([at_s for at_s, _ in steps]), np.array([is_there for _, is_there in steps])


def _local_positions(hand: AnimatedHand, parents: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Return translations (N, 16, 3) and rotations (N, 16, 4) (x, y, z, w) of joints, each in its parent's frame."""
    flip = np.diag(GLTF_FROM_CAMERA)
    rotations = flip @ hand.fit.transforms[..., :3] @ flip
    moved = np.einsum("njab,jb->nja", hand.fit.transforms[..., :3], hand.fit.joints_m) + hand.fit.transforms[..., 3]
    positions = (moved + hand.track.wrists_m[:, None]) * GLTF_FROM_CAMERA
    local_rotations, local_positions = rotations.copy(), positions.copy()
    for joint, parent in enumerate(parents):
        if parent >= 0:
            back = rotations[:, parent].transpose(0, 2, 1)
            local_rotations[:, joint] = back @ rotations[:, joint]
            local_positions[:, joint] = (back @ (positions[:, joint] - positions[:, parent])[..., None])[..., 0]
    quaternions = Rotation.from_matrix(local_rotations.reshape(-1, 3, 3)).as_quat().reshape(*positions.shape[:2], 4)
    # q and -q are the same rotation; between opposite signs players would interpolate the longer way.
    same = np.sign(np.einsum("njq,njq->nj", quaternions[1:], quaternions[:-1]))
    quaternions[1:] *= np.cumprod(np.where(same == 0, 1, same), axis=0)[..., None]
    return local_positions, quaternions


def _four_bones(surface: DisplayMesh, template: HandTemplate) -> tuple[NDArray[np.integer], FloatArray]:
    """Return bones (Vd, 4) and weights (Vd, 4) of the dense mesh, whose lifted weights are not all positive."""
    weights = np.clip(surface.lift(np.asarray(template.skinning_weights, np.float64)), 0, None)
    joints = np.argsort(-weights, axis=1)[:, :BONES_PER_VERTEX]
    largest = np.take_along_axis(weights, joints, axis=1)
    largest = (largest / largest.sum(axis=1, keepdims=True)).astype(np.float32)
    return np.where(largest > 0, joints, 0), largest / largest.sum(axis=1, keepdims=True)
