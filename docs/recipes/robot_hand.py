"""Move a robot hand by the hand of a clip or camera, with dex-retargeting.

    pip install dex-retargeting        # and its robot models: the repository dexsuite/dex-urdf
    python robot_hand.py clip.mp4 allegro_hand_right.yml --robots dex-urdf/robots/hands --side right

dex-retargeting takes 21 x 3 joints in MediaPipe's order, the wrist at 0, in metres, in the axes of MANO's wrist as its
examples use them: z from the wrist to the middle knuckle, x out of the palm, y = z x x (towards the thumb of a right
hand, away from it of a left hand). ``robot_keypoints`` gives them; the rotation of the whole hand is not part of them.
"""

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

import handviz

WRIST, INDEX_KNUCKLE, MIDDLE_KNUCKLE = 0, 5, 9


def robot_keypoints(hand: handviz.Hand) -> NDArray[np.float64]:
    """Return the keypoints (21, 3) of a hand in the axes that dex-retargeting expects; metres, wrist at 0."""
    points = hand.keypoints_m - hand.keypoints_m[WRIST]
    fingers = points[MIDDLE_KNUCKLE] / np.linalg.norm(points[MIDDLE_KNUCKLE])
    across = points[INDEX_KNUCKLE] - (points[INDEX_KNUCKLE] @ fingers) * fingers
    across /= np.linalg.norm(across)
    if hand.handedness == "left":
        across = -across
    axes = np.stack([np.cross(across, fingers), across, fingers])
    return points @ axes.T


def reference_of(points: NDArray[np.float64], retargeting: Any) -> NDArray[np.float64]:
    """Return what ``retargeting.retarget`` takes: positions of its human joints, or the vectors between them."""
    indices = np.asarray(retargeting.optimizer.target_link_human_indices)
    if retargeting.optimizer.retargeting_type.lower() == "position":
        return points[indices]
    return points[indices[1]] - points[indices[0]]


def robot_angles(source: str, config: str, robots: str, side: str) -> Iterator[tuple[float, NDArray[np.float64]]]:
    """Yield time in milliseconds and joint angles in radians, for every frame that shows a hand of that side."""
    from dex_retargeting.retargeting_config import RetargetingConfig

    RetargetingConfig.set_default_urdf_dir(robots)
    retargeting = RetargetingConfig.load_from_file(config).build()
    for frame in handviz.track(source, smoothing=0.3):
        hand = next((hand for hand in frame.hands if hand.handedness == side), None)
        if hand is not None:
            yield frame.time_ms, retargeting.retarget(reference_of(robot_keypoints(hand), retargeting))


def main() -> None:
    """Print the angles of every frame."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", help='a clip, a folder of frames, or "camera:0"')
    parser.add_argument("config", help="a configuration of dex-retargeting, such as allegro_hand_right.yml")
    parser.add_argument("--robots", required=True, help="folder of the robot models (URDF)")
    parser.add_argument("--side", choices=("left", "right"), default="right")
    arguments = parser.parse_args()
    for time_ms, angles in robot_angles(arguments.source, arguments.config, arguments.robots, arguments.side):
        print(f"{time_ms:9.1f} ms", np.round(angles, 3))


if __name__ == "__main__":
    main()
