"""Which subjects, cameras and sequences each of DexYCB's twelve splits has (``dex_ycb_toolkit/dex_ycb.py``).

s0: everything seen; s1: subjects unseen; s2: cameras unseen; s3: grasped objects unseen. Sequences are counted in a
subject's sorted hundred, so a subject with fewer cannot be split.
"""

from dataclasses import dataclass

SUBJECTS = (
    "20200709-subject-01",
    "20200813-subject-02",
    "20200820-subject-03",
    "20200903-subject-04",
    "20200908-subject-05",
    "20200918-subject-06",
    "20200928-subject-07",
    "20201002-subject-08",
    "20201015-subject-09",
    "20201022-subject-10",
)
SERIALS = (
    "836212060125",
    "839512060362",
    "840412060917",
    "841412060263",
    "932122060857",
    "932122060861",
    "932122061900",
    "932122062010",
)
SEQUENCES = 100
ALL = tuple(range(10)), tuple(range(8)), tuple(range(SEQUENCES))


@dataclass(frozen=True)
class SplitOf:
    """Places in SUBJECTS, SERIALS and a subject's sorted sequences."""

    subjects: tuple[int, ...]
    serials: tuple[int, ...]
    sequences: tuple[int, ...]


def _every_fifth(*, last: bool) -> tuple[int, ...]:
    return tuple(number for number in range(SEQUENCES) if (number % 5 == 4) == last)


def _of_objects(*fives: int) -> tuple[int, ...]:
    """Each object is grasped in five sequences running."""
    return tuple(number for number in range(SEQUENCES) if number // 5 in fives)


SEEN_OBJECTS = tuple(five for five in range(20) if five not in (3, 7, 11, 15, 19))
SPLIT_OF = {
    "s0_train": SplitOf(ALL[0], ALL[1], _every_fifth(last=False)),
    "s0_val": SplitOf((0, 1), ALL[1], _every_fifth(last=True)),
    "s0_test": SplitOf((2, 3, 4, 5, 6, 7, 8, 9), ALL[1], _every_fifth(last=True)),
    "s1_train": SplitOf((0, 1, 2, 3, 4, 5, 9), ALL[1], ALL[2]),
    "s1_val": SplitOf((6,), ALL[1], ALL[2]),
    "s1_test": SplitOf((7, 8), ALL[1], ALL[2]),
    "s2_train": SplitOf(ALL[0], (0, 1, 2, 3, 4, 5), ALL[2]),
    "s2_val": SplitOf(ALL[0], (6,), ALL[2]),
    "s2_test": SplitOf(ALL[0], (7,), ALL[2]),
    "s3_train": SplitOf(ALL[0], ALL[1], _of_objects(*SEEN_OBJECTS)),
    "s3_val": SplitOf(ALL[0], ALL[1], _of_objects(3, 19)),
    "s3_test": SplitOf(ALL[0], ALL[1], _of_objects(7, 11, 15)),
}
LABELLED_COUNTS = {"s0_train": 406_888, "s0_test": 78_768}
"""Pictures with a labelled hand, as HandOccNet, H2ONet and SiMA-Hand count them."""
