"""Colours fused over the frames of a stream."""

import dataclasses

import numpy as np
import pytest

from handviz.core.records import HandTexture
from handviz.pipeline.texture_fusion import MAX_CACHED, TextureCache, frame_weight
from tests.hands import made_up_hand

FACES = np.array([[0, 1, 2]], np.int32)
TRUE = np.array([0.8, 0.6, 0.5])


def textured(*, visible=1.0, albedo=TRUE, light=1.0, turned=False, **hand):
    """Return a hand of three vertices in one triangle that faces the camera, or faces away."""
    corners = np.array([[-0.02, 0.02, 0.0], [-0.02, -0.02, 0.0], [0.02, 0.0, 0.0]])
    hand = made_up_hand(**hand)
    albedo = np.broadcast_to(albedo, (3, 3)).astype(float)
    seen = np.full(3, visible)
    facing = corners[::-1] if hand.handedness == "right" else corners
    return dataclasses.replace(
        hand,
        vertices_m=facing[::-1] if turned else facing,
        vertex_std_mm=np.full(3, hand.vertex_std_mm[0]),
        texture=HandTexture(np.clip(albedo * light, 0, 1), albedo, seen, seen),
    )


def fused(memory, *frames):
    """Return the last hand of a stream of frames with one hand each."""
    return [memory.fuse([frame])[0] for frame in frames][-1]


@pytest.fixture
def memory():
    return TextureCache(FACES, 3)


def test_a_frame_counts_by_visibility_angle_and_uncertainty():
    full = frame_weight(np.ones(1), np.ones(1), np.zeros(1))
    assert full == pytest.approx(1.0)
    assert frame_weight(np.full(1, 0.5), np.ones(1), np.zeros(1)) < 0.5
    assert frame_weight(np.ones(1), np.full(1, 0.5), np.zeros(1)) == pytest.approx(0.25)
    assert frame_weight(np.ones(1), np.full(1, -0.5), np.zeros(1)) == 0
    assert frame_weight(np.ones(1), np.ones(1), np.full(1, 10.0)) == pytest.approx(np.exp(-0.5))


@pytest.mark.parametrize("handedness", ["right", "left"])
def test_what_was_seen_stays_when_it_turns_away(memory, handedness):
    seen = [textured(handedness=handedness) for _ in range(8)]
    hidden = textured(visible=0.0, albedo=np.array([0.1, 0.1, 0.9]), handedness=handedness, turned=True)
    last = fused(memory, *seen, hidden).texture
    np.testing.assert_allclose(last.albedo, np.tile(TRUE, (3, 1)), atol=0.1)
    assert (last.visible == 0).all()
    assert (last.seen > 0.85).all()


def test_what_was_never_seen_is_the_network_s_guess(memory):
    guess = np.array([0.1, 0.2, 0.3])
    last = fused(memory, *[textured(visible=0.0, albedo=guess)] * 5).texture
    np.testing.assert_allclose(last.albedo, np.tile(guess, (3, 1)))
    assert (last.seen == 0).all()


def test_noise_of_single_frames_is_averaged(memory):
    rng = np.random.default_rng(0)
    frames = [textured(albedo=TRUE + rng.normal(0, 0.1, 3)) for _ in range(30)]
    assert np.abs(fused(memory, *frames).texture.albedo - TRUE).max() < 0.06


def test_colours_are_shown_in_the_light_of_the_present_frame(memory):
    last = fused(memory, *[textured()] * 5, textured(light=0.5)).texture
    np.testing.assert_allclose(last.rgb, np.tile(TRUE * 0.5, (3, 1)), atol=1e-6)
    np.testing.assert_allclose(last.albedo, np.tile(TRUE, (3, 1)), atol=1e-6)


def test_a_hand_that_changes_is_learnt_anew(memory):
    other = np.array([0.3, 0.2, 0.2])
    last = fused(memory, *[textured()] * 200, *[textured(albedo=other)] * 150).texture
    np.testing.assert_allclose(last.albedo, np.tile(other, (3, 1)), atol=0.03)


def test_forgetting_begins_anew(memory):
    fused(memory, *[textured()] * 5)
    memory.forget()
    guess = np.array([0.1, 0.2, 0.3])
    last = fused(memory, textured(visible=0.0, albedo=guess)).texture
    np.testing.assert_allclose(last.albedo, np.tile(guess, (3, 1)))


UNSEEN = {"visible": 0.0, "albedo": np.full(3, 0.5)}


def test_two_hands_of_one_side_keep_their_own_colours_and_find_them_again(memory):
    red, green = np.array([0.9, 0.2, 0.2]), np.array([0.2, 0.9, 0.2])
    for _ in range(10):
        memory.fuse([textured(albedo=red, track_id=1), textured(albedo=green, track_id=2)])
    memory.fuse([])
    (back,) = memory.fuse([textured(**UNSEEN, track_id=2, wrist_px=(50.0, 400.0))])
    np.testing.assert_allclose(back.texture.albedo, np.tile(green, (3, 1)), atol=0.05)
    found = memory.fuse([textured(**UNSEEN, track_id=2), textured(**UNSEEN, track_id=1)])
    np.testing.assert_allclose(found[0].texture.albedo, np.tile(green, (3, 1)), atol=0.06)
    np.testing.assert_allclose(found[1].texture.albedo, np.tile(red, (3, 1)), atol=0.06)


def test_a_newcomer_does_not_take_a_present_hand_s_colours(memory):
    red, green = np.array([0.9, 0.2, 0.2]), np.array([0.2, 0.9, 0.2])
    fused(memory, *[textured(albedo=red, track_id=1)] * 10)
    newcomer, known = memory.fuse(
        [textured(visible=0.0, albedo=green, track_id=2), textured(**UNSEEN, track_id=1)],
    )
    np.testing.assert_allclose(newcomer.texture.albedo, np.tile(green, (3, 1)))
    np.testing.assert_allclose(known.texture.albedo, np.tile(red, (3, 1)), atol=0.05)


def test_colours_of_the_other_side_are_kept_apart(memory):
    """The same vertex lies elsewhere on the image's hand while its side is mistaken."""
    red = np.array([0.9, 0.2, 0.2])
    fused(memory, *[textured(albedo=red)] * 10)
    mistaken = fused(memory, textured(**UNSEEN, handedness="left"))
    np.testing.assert_allclose(mistaken.texture.albedo, 0.5)
    np.testing.assert_allclose(fused(memory, textured(**UNSEEN)).texture.albedo, np.tile(red, (3, 1)), atol=0.06)


def test_only_the_colours_of_the_last_hands_are_kept(memory):
    red = np.array([0.9, 0.2, 0.2])
    fused(memory, *[textured(albedo=red, track_id=1)] * 10)
    for number in range(2, MAX_CACHED + 2):
        memory.fuse([textured(track_id=number)])
    np.testing.assert_allclose(fused(memory, textured(**UNSEEN, track_id=1)).texture.albedo, 0.5)


def test_hands_that_are_not_tracked_keep_the_frame_s_colours(memory):
    fused(memory, *[textured(track_id=0)] * 5)
    hand = textured(**UNSEEN, track_id=0)
    assert fused(memory, hand) is hand


def test_where_nothing_is_known_the_frame_s_own_colours_stay_even_with_a_black_albedo(memory):
    hand = textured(visible=0.0)
    texture = HandTexture(np.full((3, 3), 0.3), np.full((3, 3), 0.01), np.zeros(3), np.zeros(3))
    found = memory.fuse([dataclasses.replace(hand, texture=texture)])[0].texture
    np.testing.assert_allclose(found.rgb, 0.3)


def test_a_hand_without_texture_passes(memory):
    hand = made_up_hand()
    assert memory.fuse([hand]) == (hand,)


def test_black_and_white_hands_stay_finite(memory):
    for albedo in (np.zeros(3), np.ones(3)):
        for light in (0.0, 5.0):
            texture = fused(memory, textured(albedo=albedo, light=light)).texture
            assert np.isfinite(texture.rgb).all()
            assert texture.rgb.min() >= 0
            assert texture.rgb.max() <= 1
