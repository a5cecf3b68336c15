"""The records and paths that every room uses."""

import dataclasses

import numpy as np
import pytest

from handviz.core import records


def test_keypoint_parents_form_a_tree_of_five_fingers() -> None:
    parents = records.KEYPOINT_PARENTS
    assert len(parents) == records.KEYPOINT_COUNT
    assert parents[0] == -1
    assert all(parent < child for child, parent in enumerate(parents))
    assert [child for child, parent in enumerate(parents) if parent == 0] == [1, 5, 9, 13, 17]
    fingertips = set(range(21)) - set(parents)
    assert fingertips == {4, 8, 12, 16, 20}


def test_records_cannot_be_changed_on_their_way() -> None:
    frame = records.Frame(number=1, image=np.zeros((2, 2, 3), np.uint8), captured_ms=0.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.number = 2  # type: ignore[misc]


def test_records_with_arrays_compare_by_identity() -> None:
    frame = records.Frame(number=1, image=np.zeros((2, 2, 3), np.uint8), captured_ms=0.0)
    assert frame in [frame]
    assert frame != dataclasses.replace(frame)
