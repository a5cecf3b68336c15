"""Draws training samples one after another; objects are drawn again until they hide the wanted fraction of the hand."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import CROP_SIZE, FloatArray
from handviz.data.synthetic import look
from handviz.data.synthetic.arm import PosedArm, Truth
from handviz.data.synthetic.backgrounds import BackgroundBank
from handviz.data.synthetic.develop import Curve, Tone, camera_faults, crevices, develop, exposure, sample_curve
from handviz.data.synthetic.no_hand import surfaces_without_hand
from handviz.data.synthetic.scene import SceneMaker, hidden_fraction, inside_image, labels, visible_vertices
from handviz.data.synthetic.viewpoint import Camera, sample_camera
from handviz.rendering.studio import HandStudio, open_studio
from handviz.rendering.studio_parts import BEHIND, SUPERSAMPLING, TARGET, Lights, StudioImage, Surface

UNIFORM_LIGHT = Lights(np.eye(3)[:2], np.zeros((2, 3)), np.ones(3), np.ones(3))
THING_TRIES, HAND_TRIES = 8, 50
BORDER_FRACTION, BORDER_LARGEST = 0.10, 0.25
"""How often the image's border is shown where the crop reaches beyond it, and the largest fraction outside."""
MAX_HIDDEN = 0.9
_makers: dict[Truth, SceneMaker] = {}


class VertexLight(NamedTuple):
    """Linear light of a hand's vertices, (V, 3) each."""

    lit: NDArray[np.float32]
    """under the image's lights and shadows, without shine"""
    albedo: NDArray[np.float32]
    """under uniform white light"""
    even: NDArray[np.float32]
    """under uniform light as bright, and of the same tint, as what reaches the sides that face the camera"""


class VertexColours(NamedTuple):
    """sRGB (V, 3) uint8 each."""

    lit: NDArray[np.uint8]
    """as the image's camera would show the vertex in the image's light"""
    even: NDArray[np.uint8]
    """as the image's camera would show it in uniform light: the known albedo, at the image's exposure"""


def bake(studio: HandStudio, surface: Surface, lights: Lights, hand_ids: NDArray[np.int32]) -> VertexLight:
    """Return the light of the vertices ``hand_ids`` (V,) of a surface; call it right after the image was drawn."""
    lit = studio.bake(surface, lights)[hand_ids]
    albedo = studio.bake(surface, UNIFORM_LIGHT)[hand_ids]
    facing = _facing_camera(surface)[hand_ids]
    reaching = lit[facing].sum(axis=0) / np.maximum(albedo[facing].sum(axis=0), 1e-6)
    return VertexLight(lit, albedo, np.asarray(albedo * reaching, np.float32))


def colours(light: VertexLight, curve: Curve, tone: Tone) -> VertexColours:
    """Convert linear light to sRGB with a camera's curve and tone."""
    lit, even = (_bytes(tone(curve(part))) for part in (light.lit, light.even))
    return VertexColours(lit, even)


def _facing_camera(surface: Surface) -> NDArray[np.bool_]:
    """Return whether each vertex's outward normal (V,) points to the camera; all are taken where none does."""
    rotation, position = surface.camera_from_object[:3, :3], surface.camera_from_object[:3, 3]
    towards = -(surface.mesh.positions @ rotation.T + position)
    facing = np.einsum("vc,vc->v", surface.mesh.normals @ rotation.T, towards) > 0
    return facing if facing.any() else ~facing


def _bytes(colour: FloatArray) -> NDArray[np.uint8]:
    return (np.clip(colour, 0, 1) * 255).round().astype(np.uint8)


class Sample(NamedTuple):
    """A crop with its labels, mask, visibility and vertex colours."""

    labels: dict[str, np.ndarray]
    image: NDArray[np.uint8]
    """(224, 224, 3) RGB"""
    mask: NDArray[np.uint8]
    """(224, 224) 1 where the image shows the labelled hand or its arm"""
    visible: NDArray[np.bool_]
    """(V,)"""
    visible_alone: NDArray[np.bool_]
    """(V,) without the objects in front of the hand"""
    colours: VertexColours


class _Drawn(NamedTuple):
    """A scene's image, before the camera's blur and noise."""

    studio: StudioImage
    image: NDArray[np.float32]
    """(224, 224, 3) over its background"""
    light: VertexLight | None
    """None where there is no hand"""
    curve: Curve


class Scene(NamedTuple):
    """A hand with objects that hide the wanted fraction of it, before one camera."""

    surfaces: list[Surface]
    """in the camera's axes, the hand first"""
    points_camera_m: NDArray[np.floating]
    """(V, 3) the hand's vertices"""
    visible: NDArray[np.bool_] | None
    """(V,) None where nothing is in front of the hand, so that the image's own depth map gives it"""
    visible_alone: NDArray[np.bool_] | None
    """(V,) without the objects; None in the same case"""
    hidden_fraction: float


class Shot(NamedTuple):
    """What one image is taken of."""

    camera: Camera
    inside: NDArray[np.float32] | None
    """(224, 224) from ``shown_part``"""
    scene: Scene
    lights: Lights


def scene_maker(truth: Truth = "model") -> SceneMaker:
    """Return this process's scene maker; each process has its own, as OpenGL contexts do not survive a fork."""
    if truth not in _makers:
        cv2.setNumThreads(1)
        studio = next((maker.studio for maker in _makers.values()), None) or open_studio(look.textures())
        _makers[truth] = SceneMaker(studio, truth)
    return _makers[truth]


def within(fraction: float, bounds: tuple[float, float] | None) -> bool:
    """Return whether a hidden fraction is inside its bounds: low <= fraction < high, and 1 belongs to a range up to 1.

    Without bounds enough of the hand must remain for a detector to find it.
    """
    return fraction < MAX_HIDDEN if bounds is None else bounds[0] <= fraction < bounds[1] or fraction == bounds[1] == 1


def shown_part(rng: np.random.Generator, camera: Camera) -> NDArray[np.float32] | None:
    """Return a mask (224, 224), 1 inside the image, or None: mostly the image is taken to extend beyond the crop."""
    wanted = rng.random() < BORDER_FRACTION
    inside = inside_image(camera) if wanted else None
    return inside if inside is not None and inside.mean() > 1 - BORDER_LARGEST else None


def _scene(
    rng: np.random.Generator,
    maker: SceneMaker,
    hand: PosedArm,
    camera: Camera,
    inside: NDArray[np.float32] | None,
    bounds: tuple[float, float] | None,
) -> Scene | None:
    """Return surfaces within the bounds of hidden_fraction, or None if no attempt met them."""
    arm = maker.hand_surface(rng, hand, camera)
    points = hand.vertices_m[maker.poser.arm.hand_ids] @ camera.camera_from_wrist.T + camera.wrist_camera_m
    alone: NDArray[np.bool_] | None = None
    for _ in range(THING_TRIES):
        things = maker.things(rng, hand, camera, cover=bounds is not None and bounds[0] > 0)
        before = [thing for thing in things if thing.label > BEHIND]
        visible, fraction = None, 0.0
        if before:
            if alone is None:
                alone = visible_vertices(maker.depth_m([arm], camera), points, camera, inside)
            visible = alone & visible_vertices(maker.depth_m([arm, *before], camera), points, camera, inside)
            fraction = hidden_fraction(visible, alone)
        if within(fraction, bounds):
            return Scene([arm, *things], points, visible, alone if before else None, fraction)
    return None


def _image(
    rng: np.random.Generator,
    maker: SceneMaker,
    surfaces: list[Surface],
    camera: Camera,
    lights: Lights,
    bank: BackgroundBank,
    *,
    is_hand: bool = True,
) -> _Drawn:
    """Draw a scene and develop it over a background."""
    drawn = maker.draw(surfaces, lights, camera)
    light = bake(maker.studio, surfaces[0], lights, maker.poser.arm.hand_ids) if is_hand else None
    px_per_m = (
        camera.intrinsics.focal_px / lights.shadow_centre_m[2] * np.sqrt(np.linalg.det(camera.crop_from_image[:, :2]))
    )
    fraction = crevices(drawn, float(px_per_m), float(rng.uniform(0.35, 0.8)))
    behind, gain = bank.take(rng), exposure(drawn, rng)
    curve = sample_curve(rng, gain)
    return _Drawn(drawn, develop(drawn, behind, curve, fraction), light, curve)


def centre_m(hand: PosedArm, camera: Camera) -> FloatArray:
    """Return the centre (3,) of a hand in camera axes, metres, at which lights are directed."""
    return np.asarray(camera.camera_from_wrist @ hand.keypoints_m[9] * 0.9 + camera.wrist_camera_m)


def _hand_mask(studio: StudioImage) -> NDArray[np.uint8]:
    """Return a mask (224, 224), 1 where the labelled hand or its arm was drawn."""
    label = studio.label[::SUPERSAMPLING, ::SUPERSAMPLING]
    return (np.abs(label.astype(int) - round(TARGET * 255)) < 20).astype(np.uint8)


def _sample(
    rng: np.random.Generator,
    maker: SceneMaker,
    hand: PosedArm,
    bank: BackgroundBank,
    bounds: tuple[float, float] | None,
) -> Sample | None:
    """Return one crop, or None if no set of objects hid the wanted fraction."""
    camera = sample_camera(rng, hand.keypoints_m)
    inside = shown_part(rng, camera)
    scene = _scene(rng, maker, hand, camera, inside, bounds)
    if scene is None:
        return None
    lights = look.sample_lights(rng, centre_m(hand, camera))
    return photographed(rng, maker, hand, Shot(camera, inside, scene, lights), bank)


def photographed(
    rng: np.random.Generator, maker: SceneMaker, hand: PosedArm, shot: Shot, bank: BackgroundBank
) -> Sample:
    """Take the image of a scene with a hand: over any background, with any camera's response and faults."""
    camera, inside, scene, lights = shot
    drawn = _image(rng, maker, scene.surfaces, camera, lights, bank)
    image, tone = camera_faults(drawn.image, rng)
    mask = _hand_mask(drawn.studio)
    if inside is not None:
        image *= inside[..., None].astype(np.uint8)
        mask *= inside.astype(np.uint8)
    known = labels(hand, camera, maker.poser.arm.hand_ids) | {"hidden_share": np.array(scene.hidden_fraction)}
    assert drawn.light is not None
    assert image.shape == (CROP_SIZE, CROP_SIZE, 3)
    visible, alone = scene.visible, scene.visible_alone
    if visible is None or alone is None:
        visible = alone = visible_vertices(drawn.studio.depth_m, scene.points_camera_m, camera, inside)
    return Sample(known, image, mask, visible, alone, colours(drawn.light, drawn.curve, tone))


def _sample_without_hand(rng: np.random.Generator, maker: SceneMaker, hand: PosedArm, bank: BackgroundBank) -> Sample:
    """Return one crop without a hand; ``hand`` is where one would be."""
    surfaces, camera = surfaces_without_hand(rng, maker, hand, sample_camera(rng, hand.keypoints_m))
    lights = look.sample_lights(rng, centre_m(hand, camera))
    drawn = _image(rng, maker, surfaces, camera, lights, bank, is_hand=False)
    image, _ = camera_faults(drawn.image, rng)
    ids = maker.poser.arm.hand_ids
    nothing, black = np.zeros(len(ids), bool), np.zeros((len(ids), 3), np.uint8)
    known = labels(hand, camera, ids) | {"hidden_share": np.zeros(()), "is_hand": np.zeros(())}
    return Sample(known, image, np.zeros(image.shape[:2], np.uint8), nothing, nothing, VertexColours(black, black))


def _never_within(bounds: tuple[float, float] | None) -> str:
    if bounds is None:
        return f"objects always hide {MAX_HIDDEN} of a hand or more: choose another seed"
    return f"objects never hide between {bounds[0]} and {bounds[1]} of a hand: choose wider bounds"


def render_samples(
    rng: np.random.Generator,
    count: int,
    hidden: tuple[float, float] | None = None,
    *,
    truth: Truth = "model",
    no_hand: float = 0.0,
) -> Iterator[Sample]:
    """Yield random samples whose hidden fraction is within the bounds, a fraction of them without a hand.

    Raises HandvizError if hardly any hand is within the bounds.
    """
    maker = scene_maker(truth)
    bank = BackgroundBank(int(rng.integers(0, 2**63)))
    for hand in maker.poser.sample(rng, count):
        own = np.random.default_rng(rng.integers(0, 2**63))
        if no_hand and own.random() < no_hand:
            yield _sample_without_hand(own, maker, hand, bank)
            continue
        sample = _sample(own, maker, hand, bank, hidden)
        for _ in range(HAND_TRIES):
            if sample is not None:
                break
            sample = _sample(own, maker, maker.poser.sample(own, 1)[0], bank, hidden)
        if sample is None:
            raise HandvizError(_never_within(hidden), ErrorCode.BAD_VALUE)
        yield sample
