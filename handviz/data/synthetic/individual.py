"""One person's hand beyond the ten shape components: lengths and thicknesses of single bones, pads and knuckles.

The generator's truth is not in the open hand's space, as that of real hands is not in any hand model's. Means are those
of surveys of adults (widths of DINED 2004, Hsiao et al. 2015 and the FAA, lengths of Buryanov and Kotiuk 2010, as
docs/log/experiments.md lists them), against which the open hand's thumb and little finger are too thin and the latter
is too short; spreads are theirs as far as they are known, else ours.
"""

from dataclasses import dataclass

import numpy as np

from handviz.core.records import FloatArray
from handviz.hand_models.full_rig import BONE_COUNT, FOREARM, METACARPALS

FINGERS = 5
WAVE_COUNT = 6
LENGTH_MEANS, LENGTH_OF_FINGER, LENGTH_OF_BONE = (0.0, 0.0, 0.0, 0.0, 0.077), 0.035, 0.03
"""Mean logarithm of the length of thumb to little finger, and its standard deviations: of a finger, of a bone."""
THICKNESS_MEANS = (0.14, 0.049, 0.049, 0.049, 0.122)
"""Mean of the logarithm of the diameter of thumb (from its knuckle on) to little finger."""
THICKNESS_OF_HAND, THICKNESS_OF_FINGER, THICKNESS_OF_BONE = 0.03, 0.045, 0.025
"""Its standard deviations; the ten components have 5.5 % in common to all fingers."""
FLATNESS_OF_HAND, FLATNESS_OF_FINGER = 0.05, 0.03
"""Of width against depth."""
TIP_MEAN, TIP_OF_HAND, TIP_OF_FINGER = 0.05, 0.06, 0.03
"""Growth of the radius at the fingertips, which grows from the last joint on."""
PALM_LENGTH, PALM_WIDTH, PALM_DEPTH = 0.03, 0.045, 0.06
"""Standard deviations of the logarithms of the palm's sizes."""
PALM_WIDTH_MEAN, PALM_DEPTH_MEAN, WRIST_MEAN = 0.03, 0.0, 0.049
"""Means of these; the last is what the wrist and forearm have beside the palm's width and depth."""
KNUCKLE_MEAN, KNUCKLE_SPREAD = 0.03, 0.06
"""Width of a finger's joints, beyond that of the bones, as a fraction of the radius."""
PAD_SD_M, THENAR_MEAN_M, THENAR_SD_M, HYPOTHENAR_SD_M, PALM_SD_M, WAVE_SD_M = (
    0.0007,
    0.0010,
    0.0018,
    0.0015,
    0.0010,
    0.0005,
)
"""Fullness of the pads of the fingers, ball of the thumb (mean and standard deviation), ball of the little finger, pads
below the knuckles, and size of each wave of the skin's unevenness."""
WAVELENGTH_M = (0.025, 0.07)
"""Smallest and largest length of such a wave."""
SOFTNESS_SPREAD = 0.35
"""Standard deviation of the logarithm of how far flesh is displaced when joints bend."""


@dataclass(frozen=True, eq=False)
class Individuals:
    """The hands of N people."""

    bone_scale: FloatArray
    """(N, 21, 3) factors along the bone, across it in the palm's plane, and in depth"""
    pads_m: FloatArray
    """(N, 15) fullness of the palmar side of each finger bone"""
    knuckles: FloatArray
    """(N, 15) width of each finger joint, fraction of the radius"""
    tips: FloatArray
    """(N, 5) growth of the fingertips, fraction of the radius"""
    thenar_m: FloatArray
    """(N,) fullness of the ball of the thumb"""
    hypothenar_m: FloatArray
    """(N,) fullness of the ball of the little finger"""
    palm_m: FloatArray
    """(N,) fullness of the pads below the knuckles"""
    softness: FloatArray
    """(N,) factor of how far flesh is displaced when joints bend"""
    wave_vectors: FloatArray
    """(N, WAVE_COUNT, 3) radians a metre, of smooth unevenness along the normals"""
    wave_phases: FloatArray
    """(N, WAVE_COUNT) radians"""
    wave_sizes_m: FloatArray
    """(N, WAVE_COUNT) amplitudes"""


def _finger_scales(rng: np.random.Generator, count: int) -> FloatArray:
    """Draw the logarithms (N, 15, 3) of factors along, across and in depth of the finger bones."""

    def drawn(of_finger: float, of_bone: float) -> FloatArray:
        """Draw (N, 5, 3) with a standard deviation that a finger's bones share, and one of each bone's own."""
        fingers = rng.normal(0, of_finger, (count, FINGERS, 1))
        return fingers + rng.normal(0, of_bone, (count, FINGERS, 3))

    means = np.repeat(np.array(THICKNESS_MEANS)[:, None], 3, axis=1)
    means[0, 0] = 0.0  # the thumb's metacarpal lies in the palm
    along = np.array(LENGTH_MEANS)[:, None] + drawn(LENGTH_OF_FINGER, LENGTH_OF_BONE)
    of_hand = rng.normal(0, THICKNESS_OF_HAND, (count, 1, 1))
    thickness = means + of_hand + drawn(THICKNESS_OF_FINGER, THICKNESS_OF_BONE)
    flatness = (rng.normal(0, FLATNESS_OF_HAND, (count, 1, 1)) + drawn(FLATNESS_OF_FINGER, 0.0)) / 2
    return np.stack([along, thickness + flatness, thickness - flatness], axis=3).reshape(count, 15, 3)


def _bone_scales(rng: np.random.Generator, count: int) -> FloatArray:
    """Draw factors (N, 21, 3); wrist, metacarpals and forearm vary together."""
    logarithms = np.zeros((count, BONE_COUNT, 3))
    logarithms[:, 1:16] = _finger_scales(rng, count)
    means = [0.0, PALM_WIDTH_MEAN, PALM_DEPTH_MEAN]
    palm = rng.normal(means, [PALM_LENGTH, PALM_WIDTH, PALM_DEPTH], (count, 3))
    logarithms[:, 0] = palm
    logarithms[:, METACARPALS] = palm[:, None]
    logarithms[:, FOREARM, 1:] = palm[:, 1:] + WRIST_MEAN
    return np.exp(logarithms)


def sample_individuals(rng: np.random.Generator, count: int) -> Individuals:
    """Draw the hands of ``count`` people."""
    directions = rng.normal(size=(count, WAVE_COUNT, 3))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    return Individuals(
        bone_scale=_bone_scales(rng, count),
        pads_m=rng.normal(0, PAD_SD_M, (count, 15)),
        knuckles=rng.normal(KNUCKLE_MEAN, KNUCKLE_SPREAD, (count, 15)),
        tips=rng.normal(TIP_MEAN, TIP_OF_HAND, (count, 1)) + rng.normal(0, TIP_OF_FINGER, (count, FINGERS)),
        thenar_m=rng.normal(THENAR_MEAN_M, THENAR_SD_M, count),
        hypothenar_m=rng.normal(0, HYPOTHENAR_SD_M, count),
        palm_m=rng.normal(0, PALM_SD_M, count),
        softness=np.exp(rng.normal(0, SOFTNESS_SPREAD, count)),
        wave_vectors=directions * (2 * np.pi / rng.uniform(*WAVELENGTH_M, (count, WAVE_COUNT, 1))),
        wave_phases=rng.uniform(0, 2 * np.pi, (count, WAVE_COUNT)),
        wave_sizes_m=rng.normal(0, WAVE_SD_M, (count, WAVE_COUNT)),
    )
