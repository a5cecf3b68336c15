"""The landmark network: batches, shapes, and crops that it does not take."""

import dataclasses

import numpy as np
import pytest

from handviz.core.errors import ErrorCode
from handviz.core.records import HandCrop
from handviz.detection.landmark_network import MIDDLE_MAP_SHAPE, LandmarkNetwork, batch_of
from tests.errors import raises
from tests.hands import made_up_detection


@pytest.fixture(scope="module")
def network() -> LandmarkNetwork:
    return LandmarkNetwork(device="cpu")


def random_images(count: int, size: int = 224) -> list[np.ndarray]:
    return list(np.random.default_rng(1).integers(0, 256, (count, size, size, 3), np.uint8))


def test_images_become_a_batch_with_channels_first() -> None:
    images = random_images(2, 8)
    batch = batch_of(images)
    assert batch.shape == (2, 3, 8, 8)
    assert batch.flags.c_contiguous
    np.testing.assert_array_equal(batch[1, 2], images[1][..., 2])
    assert batch_of([]).shape == (0, 3, 224, 224)


def test_a_batch_gives_what_its_images_give_alone(network: LandmarkNetwork) -> None:
    images = random_images(3)
    together = network.of_images(batch_of(images))
    assert len(together) == 3
    for image, one in zip(images, together, strict=True):
        (alone,) = network.of_images(batch_of([image]))
        assert one.keypoints.shape == one.world_m.shape == (21, 3)
        assert one.middle_map.shape == MIDDLE_MAP_SHAPE
        assert 0 <= one.presence <= 1
        assert 0 <= one.right_hand <= 1
        np.testing.assert_allclose(one.keypoints, alone.keypoints, atol=1e-4)
        np.testing.assert_allclose(one.middle_map, alone.middle_map, atol=1e-3)
        assert one.presence == pytest.approx(alone.presence, abs=1e-5)


def test_of_nothing_it_says_nothing(network: LandmarkNetwork) -> None:
    assert network.of_images(batch_of([])) == []
    assert network.of_crops([]) == []


def test_crops_are_taken_as_images(network: LandmarkNetwork) -> None:
    image = random_images(1)[0]
    crop = HandCrop(image, np.eye(2, 3), made_up_detection())
    (found,), (expected,) = network.of_crops([crop]), network.of_images(batch_of([image]))
    np.testing.assert_array_equal(found.keypoints, expected.keypoints)
    other = dataclasses.replace(crop, image=random_images(1, 160)[0])
    with raises(ErrorCode.WRONG_SHAPE, match="160"):
        network.of_crops([crop, other])
