"""Soft tissue of the rendered hands: flesh that bulges when joints bend and flattens where parts touch.

Linear blend skinning has neither: it thins a finger at its bent joints and lets parts run into each other. Each
displacement of the flesh is a fixed field over the rest mesh times an amplitude that follows the pose and the person.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import rotation_from_axis_angle
from handviz.core.records import FloatArray
from handviz.data.synthetic.individual import Individuals
from handviz.hand_models.anatomy import JointAxes
from handviz.hand_models.full_rig import FIRST_BONES, FOREARM, LAST_BONES, METACARPALS, PARENTS

PAD_BULGE_M = 0.0016
"""Of the flesh between two joints, for one of them bent by 90 degrees."""
JOINT_VOLUME = 0.8
"""Of the thickness that skinning loses on the outside of a bent joint, the fraction that bone keeps."""
MAX_JOINT_GROWTH = 0.45
"""Of the radius at a joint, whatever its angle."""
THENAR_BULGE_M, HYPOTHENAR_BULGE_M, PALM_BULGE_M, WEB_BULGE_M, HOLLOW_M = 0.005, 0.0035, 0.003, 0.004, 0.002
"""Of ball of the thumb, ball of the little finger, pads below the knuckles, web of the thumb and hollow of the palm, at
the full amplitude of each (``SoftTissue._region_sizes``)."""
WEB_RANGE_M = 0.02
"""By which the thumb's knuckle comes nearer to the palm for all of the web's bulge."""
CONTACT_FRACTION, MAX_DENT_M = 0.5, 0.0035
"""Each of two parts that touch gives way by half, up to this depth."""
CAPSULE_RADIUS = 0.92
"""Of a bone's mean distance to its skin: flesh is softer than the capsule."""


def _bump(points: FloatArray, centre: FloatArray, radius_m: float) -> FloatArray:
    """Return a smooth bump (V,) of a radius around a point (3,)."""
    return np.exp(-((points - centre) ** 2).sum(1) / (2 * radius_m**2))


@dataclass(frozen=True, eq=False)
class RestHand:
    """The mean arm in the rest pose, on which the fields are defined."""

    vertices_m: FloatArray
    """(Va, 3)"""
    normals: FloatArray
    """(Va, 3)"""
    weights: FloatArray
    """(Va, 21) of the full rig"""
    joints_m: FloatArray
    """(21, 3) of the full rig"""
    ends_m: FloatArray
    """(21, 3) end of each bone: its child's joint, or the fingertip"""
    axes: JointAxes


class SoftTissue:
    """Fields of displacement over the rest mesh, and their amplitudes."""

    def __init__(self, rest: RestHand) -> None:
        self._rest = rest
        bones = range(1, 16)
        regions = self._regions()
        self._region_names = tuple(regions)
        fields = [make(bone) for make in (self._pad, self._joint, self._knuckle) for bone in bones]
        tips = [self._tip(bone) for bone in LAST_BONES]
        self.fields = np.stack([*fields, *tips, *regions.values()]).astype(np.float32)
        """(55, Va, 3) palmar side of the 15 finger bones; outside and sides of their joints, metres for a growth of 1;
        the five fingertips, the same; regions of the palm"""

    def _palmar(self, bone: int) -> FloatArray:
        """Return how far each normal (Va,) points to the palmar side of a finger bone, -1 to 1."""
        axes = self._rest.axes
        return np.asarray(self._rest.normals @ np.cross(axes.flexion[bone - 1], axes.twist[bone - 1]))

    def _along(self, bone: int) -> FloatArray:
        """Return the position (Va,) along a bone, 0 at its joint, 1 at its end."""
        start, end = self._rest.joints_m[bone], self._rest.ends_m[bone]
        return np.asarray((self._rest.vertices_m - start) @ (end - start) / ((end - start) ** 2).sum())

    def _pad(self, bone: int) -> FloatArray:
        """Return the unit field (Va, 3) of the palmar flesh between a bone's two joints."""
        bell = np.exp(-(((self._along(bone) - 0.5) / 0.3) ** 2))
        size = self._rest.weights[:, bone] * bell * np.clip(self._palmar(bone), 0, 1)
        return np.asarray(size[:, None] * self._rest.normals)

    def _radial(self, bone: int) -> FloatArray:
        """Return the vectors (Va, 3) from a bone's axis to the skin."""
        twist = self._rest.axes.twist[bone - 1]
        from_joint = self._rest.vertices_m - self._rest.joints_m[bone]
        return np.asarray(from_joint - (from_joint @ twist)[:, None] * twist)

    def _around(self, bone: int) -> FloatArray:
        """Return the vectors (Va, 3) from a bone's axis to the skin around its joint, where both its bones pull."""
        own, parent = self._rest.weights[:, bone], self._rest.weights[:, PARENTS[bone]]
        blend = 4 * own * parent * (own + parent > 0.7)
        return np.asarray(blend[:, None] * self._radial(bone))

    def _tip(self, bone: int) -> FloatArray:
        """Return the vectors (Va, 3) from the last bone's axis to the skin, none at its joint and whole at its end."""
        size = self._rest.weights[:, bone] * np.clip(self._along(bone), 0, 1)
        return np.asarray(size[:, None] * self._radial(bone))

    def _joint(self, bone: int) -> FloatArray:
        """Return the vectors (Va, 3) around a joint on its outside, where skinning thins it."""
        outside = np.clip(0.5 - 0.5 * self._palmar(bone), 0, 1)
        return self._around(bone) * outside[:, None]

    def _knuckle(self, bone: int) -> FloatArray:
        """Return the vectors (Va, 3) around a joint on both its sides, where people's knuckles differ."""
        sideways = np.abs(self._rest.normals @ self._rest.axes.flexion[bone - 1])
        return self._around(bone) * sideways[:, None]

    def _regions(self) -> dict[str, FloatArray]:
        """Return fields (Va, 3) of the palm's parts and the web of the thumb, of unit length at most.

        Each is a bump of 10 to 18 mm about a point of the rest hand.
        """
        rest = self._rest
        joints, centres = rest.joints_m, (rest.joints_m + rest.ends_m) / 2
        palmar = np.clip(-rest.normals[:, 2], 0, 1)
        of_thumb = np.clip(self._palmar(1), 0, 1)
        of_hand = rest.weights[:, FOREARM] < 0.5
        palm_side = np.array([0.0, 0.0, -0.012])  # from the bones to the palm's skin, metres
        sizes = {
            "thenar": np.maximum(of_thumb, palmar) * _bump(rest.vertices_m, centres[1] + palm_side, 0.016),
            "hypothenar": palmar * _bump(rest.vertices_m, centres[METACARPALS[3]] + palm_side, 0.018),
            "palm": palmar
            * np.max([_bump(rest.vertices_m, joints[j] + palm_side, 0.010) for j in FIRST_BONES], axis=0),
            "hollow": palmar * _bump(rest.vertices_m, centres[METACARPALS[1]] + palm_side, 0.018),
            "web": np.clip(rest.normals[:, 2], 0, 1)
            * _bump(rest.vertices_m, (centres[METACARPALS[0]] + joints[2]) / 2, 0.014),
        }
        return {name: (size * of_hand)[:, None] * rest.normals for name, size in sizes.items()}

    def displacements(self, people: Individuals, poses: FloatArray, cup: FloatArray, web_m: FloatArray) -> FloatArray:
        """Return displacements (N, Va, 3) of the rest mesh.

        ``poses`` (N, 45) axis-angle of the finger joints; ``cup`` (N,) how far the palm is cupped, 0 to 1; ``web_m``
        (N,) how much nearer the thumb's knuckle is to the index finger's metacarpal than in the rest pose.
        """
        flexion = np.einsum("njc,jc->nj", poses.reshape(len(poses), 15, 3), self._rest.axes.flexion)
        bend = 1 - np.cos(np.clip(flexion, -0.6, 1.9))
        soft = people.softness[:, None]
        next_bend = np.roll(bend, -1, axis=1)
        next_bend[:, 2::3] = 0.0
        pads = people.pads_m + soft * PAD_BULGE_M * (bend + next_bend)
        growth = np.minimum(1 / np.cos(np.clip(flexion, 0, 1.9) / 2) - 1, MAX_JOINT_GROWTH) * JOINT_VOLUME
        regions = self._region_sizes(people, flexion, bend, cup, web_m)
        sizes = [
            pads,
            growth,
            people.knuckles,
            people.tips,
            np.stack([regions[name] for name in self._region_names], axis=1),
        ]
        flat = np.concatenate(sizes, axis=1).astype(np.float32) @ self.fields.reshape(len(self.fields), -1)
        return flat.reshape(len(poses), -1, 3) + self._unevenness(people)

    def _region_sizes(
        self, people: Individuals, flexion: FloatArray, bend: FloatArray, cup: FloatArray, web_m: FloatArray
    ) -> dict[str, FloatArray]:
        """Return the amplitude (N,), metres, of every region's field."""
        soft = people.softness
        thumb = np.clip((flexion[:, 0] + 0.5 * flexion[:, 1]) / 1.2, -0.3, 1)
        return {
            "thenar": people.thenar_m + soft * THENAR_BULGE_M * thumb,
            "hypothenar": people.hypothenar_m + soft * HYPOTHENAR_BULGE_M * cup,
            "palm": people.palm_m + soft * PALM_BULGE_M * bend[:, [3, 6, 9, 12]].mean(1),
            "hollow": -soft * HOLLOW_M * cup,
            "web": soft * WEB_BULGE_M * np.clip(web_m / WEB_RANGE_M, -0.5, 1),
        }

    def _unevenness(self, people: Individuals) -> FloatArray:
        """Return smooth waves (N, Va, 3) along the normals, none on the forearm."""
        phases = people.wave_vectors.astype(np.float32) @ self._rest.vertices_m.T.astype(np.float32)
        waves = np.sin(phases + people.wave_phases[..., None].astype(np.float32))
        size = np.einsum("nw,nwv->nv", people.wave_sizes_m, waves) * (1 - self._rest.weights[:, FOREARM])
        return np.asarray(size[..., None] * self._rest.normals)


class Contact:
    """Parts of a hand that touch, and flatten: fingers on each other, on the palm, on themselves no more than at rest.

    A bone is a capsule; skin of another part inside it is moved out by its half of the way.
    """

    def __init__(self, rest: RestHand) -> None:
        self.bones = np.array([*range(1, 16), *METACARPALS])
        part_of_bone = np.array([(bone - 1) // 3 for bone in range(1, 16)] + [5] * len(METACARPALS))
        part_weights = np.zeros((len(rest.weights), 6))
        np.add.at(part_weights.T, part_of_bone, rest.weights[:, self.bones].T)
        part_weights[:, 5] += rest.weights[:, 0] + rest.weights[:, FOREARM]
        part = part_weights.argmax(1)
        self._apart: NDArray[np.bool_] = part[:, None] != part_of_bone[None]
        distance, _ = _to_bones(rest.vertices_m, rest.joints_m[self.bones], rest.ends_m[self.bones])
        own = rest.weights[:, self.bones] > 0.7
        self._radius = CAPSULE_RADIUS * np.array([distance[own[:, i], i].mean() for i in range(len(self.bones))])
        self._at_rest = np.maximum(self._radius - distance, 0)

    def flattened(
        self, vertices_m: FloatArray, starts: FloatArray, ends: FloatArray, thickness: FloatArray
    ) -> FloatArray:
        """Return posed vertices (Va, 3) without what lies inside other parts.

        ``starts`` and ``ends`` (19, 3) are those of the bones as posed, ``thickness`` (19,) factors of their radii.
        """
        distance, away = _to_bones(vertices_m, starts, ends)
        depth = np.where(self._apart, self._radius * thickness - distance - self._at_rest, 0)
        nearest = depth.argmax(1)
        rows = np.flatnonzero(depth[np.arange(len(depth)), nearest] > 0)
        moved = vertices_m.copy()
        chosen = nearest[rows]
        size = np.minimum(CONTACT_FRACTION * depth[rows, chosen], MAX_DENT_M)
        moved[rows] += away[rows, chosen] / np.maximum(distance[rows, chosen], 1e-6)[:, None] * size[:, None]
        return moved


def _to_bones(points: FloatArray, starts: FloatArray, ends: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return distances (V, J) of points (V, 3) from segments, and the vectors (V, J, 3) from them."""
    bones = ends - starts
    offset = points[:, None] - starts[None]
    along = np.clip((offset * bones).sum(2) / np.maximum((bones**2).sum(1), 1e-12), 0, 1)
    away = offset - along[..., None] * bones
    return np.sqrt((away**2).sum(2)), away


class Cupping(NamedTuple):
    """How N palms are cupped."""

    amount: FloatArray
    """(N,) 0 to 1"""
    metacarpals: FloatArray
    """(N, 4, 3, 3) rotations of those of index to little finger"""


def cupping(rng: np.random.Generator, bend: FloatArray) -> Cupping:
    """Draw how palms are cupped.

    ``bend`` (N,) is the mean flexion of the fingers, radians: bent fingers cup the palm. The metacarpals of ring and
    little finger flex by 10 and 20 degrees at most, the little one turns towards the thumb; the others hardly move.
    """
    count = len(bend)
    # Angles in degrees; their sizes and spreads are ours.
    amount = np.clip(0.1 + 0.35 * bend + rng.normal(0, 0.22, count), 0, 1)
    flexion = np.array([1.5, 0.5, 10.0, 20.0]) * amount[:, None] + rng.normal(0, 1.3, (count, 4)) - 0.5
    sideways = rng.normal(0, 1.0, (count, 1)) * np.array([1.0, 0.2, -0.6, -1.4]) + rng.normal(0, 0.5, (count, 4))
    twist = np.array([0.0, 0.0, 0.2, 0.45]) * flexion
    x, y, z = np.eye(3)
    # Flexion tips the knuckle towards -z: about +x. A twist is about the bone, along -y.
    parts = [
        rotation_from_axis_angle(np.radians(angle)[..., None] * axis)
        for angle, axis in ((sideways, z), (flexion, x), (twist, y))
    ]
    return Cupping(amount, np.asarray(parts[0] @ parts[1] @ parts[2]))
