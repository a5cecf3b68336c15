"""The datasets' own evaluation protocols, and the parts of their samples' names."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from handviz.core.errors import ErrorCode, HandvizError
from handviz.data.datasets.registry import reader
from handviz.evaluation.definitions import ALIGNMENTS, BONE_SCALE, USUAL, Measures


@dataclass(frozen=True)
class Protocol:
    """A dataset's own evaluation."""

    official: tuple[str, ...]
    """alignments that its program prints, of ``measures``"""
    source: str
    sequence_parts: int
    """leading parts of a sample's name that are its sequence; 0: every sample is its own"""
    samples: dict[str, int]
    """number that its server takes, by split"""
    left_tip_vertices: tuple[int, ...] | None = None
    """fingertips of left hands, where they are other vertices than those of right ones"""
    measures: Measures = USUAL
    """what is computed of its samples"""


JOINTS_OF_KNOWN_SCALE = Measures((*ALIGNMENTS[:-1], BONE_SCALE, ALIGNMENTS[-1]), upper_auc_from_mm=20.0)
"""Of datasets of joints alone: the literature takes the hand's scale from the truth and reports AUC of 20 to 50 mm."""
HAND3D = "as lmb-freiburg/hand3d, eval_full.py, which has the palm centre as root, visible joints and 12 thresholds"
FREIHAND = Protocol(("absolute", "procrustes"), "printed by lmb-freiburg/freihand, eval.py", 0, {"evaluation": 3960})
PROTOCOLS = {
    "freihand": FREIHAND,
    "hanco": Protocol(("absolute", "procrustes"), "as of FreiHAND: HanCo has no program of its own", 2, {}),
    "ho3d_v2": Protocol(
        ("root", "scale_translation", "procrustes"),
        "printed by shreyashampali/ho3d, eval.py",
        1,
        {"evaluation": 11524},
    ),
    "ho3d_v3": Protocol(
        ("root", "scale_translation", "procrustes"),
        "printed by shreyashampali/ho3d, eval.py",
        1,
        {"evaluation": 20137},
    ),
    "dexycb": Protocol(
        ("absolute", "root", "procrustes"),
        "printed by NVlabs/dex-ycb-toolkit, hpe_eval.py",
        2,
        {},
        left_tip_vertices=(745, 317, 445, 556, 673),
    ),
    "rhd": Protocol((BONE_SCALE,), HAND3D, 0, {}, measures=JOINTS_OF_KNOWN_SCALE),
    "stb": Protocol((BONE_SCALE,), HAND3D, 1, {}, measures=JOINTS_OF_KNOWN_SCALE),
}


def protocol_of(dataset: str) -> Protocol:
    """Return the protocol of a dataset by its name; HandvizError for an unknown one."""
    if dataset not in PROTOCOLS:
        raise HandvizError(
            f"no evaluation protocol is known for {dataset}: choose among {', '.join(PROTOCOLS)}",
            ErrorCode.UNKNOWN_NAME,
        )
    return PROTOCOLS[dataset]


def official_count(dataset: str, split: str) -> int | None:
    """Return the split's official number of samples; None where there is none."""
    counts: dict[tuple[str, str], int] = getattr(reader(dataset), "OFFICIAL_COUNTS", {})
    return counts.get((dataset, split), protocol_of(dataset).samples.get(split))


def sequence_of(name: str, protocol: Protocol) -> str:
    """Return the sequence that a sample belongs to, all its cameras; the sample itself where there are no sequences."""
    return "/".join(name.split("/")[: protocol.sequence_parts or None])


def clip_of(name: str) -> str:
    """Return the clip of one camera that a sample is a frame of."""
    return str(PurePosixPath(name).parent)


def frame_of(name: str) -> int | None:
    """Return a frame's number in its clip, the digits at the end of its name; None for samples without a clip."""
    last = PurePosixPath(name).name
    digits = last[len(last.rstrip("0123456789")) :]
    return int(digits) if digits and "/" in name else None
