"""The two hand networks that Google ships inside the mediapipe 0.10.21 wheel (Apache-2.0), by checksum."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from handviz.core.errors import ErrorCode, HandvizError

PALM_DETECTION = "mediapipe/modules/palm_detection/palm_detection_full.tflite"
HAND_LANDMARK = "mediapipe/modules/hand_landmark/hand_landmark_full.tflite"
SHA256 = {
    PALM_DETECTION: "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
    HAND_LANDMARK: "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
}
REQUIREMENT = "mediapipe==0.10.21"


def wheel_members(names: Sequence[str]) -> dict[str, bytes]:
    """Download the wheel and return the named members; HandvizError if it is not available or another."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = _download(Path(folder))
        return members_of(wheel, names)


def members_of(wheel: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Read members of a wheel file and check each against ``SHA256``; raise HandvizError if one differs."""
    members: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in names:
                members[name] = archive.read(name)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise HandvizError(
            f"{wheel.name} is not the wheel of {REQUIREMENT}: {error}", ErrorCode.FILE_DAMAGED
        ) from error
    for name, content in members.items():
        found = hashlib.sha256(content).hexdigest()
        if found != SHA256.get(name):
            expected = SHA256.get(name, "none, it is not known")
            raise HandvizError(f"{name} in {wheel.name} has sha256 {found}, expected {expected}", ErrorCode.CHECKSUM)
    return members


def _download(folder: Path) -> Path:
    """Download the Linux wheel on every system: only the network files in it are needed."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--platform", "manylinux_2_28_x86_64", "--python-version", "3.11", "--implementation", "cp"]
    command += ["--dest", str(folder), REQUIREMENT]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode != 0 or not wheels:
        reason = (result.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise HandvizError(
            f"{REQUIREMENT} could not be downloaded (is there a network?): {reason}", ErrorCode.FILE_MISSING
        )
    return wheels[0]
