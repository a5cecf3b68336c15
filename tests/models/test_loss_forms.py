"""The forms that the losses can take: what each switch changes, and that without any of them nothing changes.

The terms of the default form are compared with torch.distributions in ``test_losses``.
"""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from handviz.core.errors import ErrorCode
from handviz.core.gaussian import Gaussian, rotation_from_6d, six_d_from_rotation
from handviz.models.amvur.loss_config import LossConfig, WeakWeights
from handviz.models.amvur.losses import loss_terms, supervised_terms
from handviz.models.amvur.model import ModelOutput
from handviz.models.amvur.network import CameraOutput, PriorOutput
from handviz.models.amvur.weak_losses import WeakPriors, weak_terms
from handviz.models.truth import Truth
from tests.errors import raises

BATCH, VERTICES, KEYPOINTS = 2, 5, 3
COORDINATES = {"vertices": 3 * VERTICES, "keypoints": 3 * KEYPOINTS, "image": 2 * KEYPOINTS, "camera": 9}
"""Of a crop, by term."""
DRAWS = 20_000


def waves(*shape: int, phase: float, size: float = 1.0) -> Tensor:
    """Return numbers that are the same on every machine and in every version of torch."""
    return size * torch.sin(phase + 0.7 * torch.arange(math.prod(shape), dtype=torch.float64)).reshape(shape)


@pytest.fixture
def regressor() -> Tensor:
    """(3, 5) rows that sum to 1."""
    weights = 1.1 + waves(KEYPOINTS, VERTICES, phase=0.1)
    return weights / weights.sum(dim=1, keepdim=True)


def camera_of(mean: Tensor, log_variance: Tensor) -> CameraOutput:
    return CameraOutput(mean, log_variance, rotation_from_6d(mean[:, :6]), torch.exp(mean[:, 6]) / 10, mean[:, 7:])


@pytest.fixture
def output() -> ModelOutput:
    mesh, spread = waves(BATCH, VERTICES, 3, phase=0.2, size=2.0), waves(BATCH, VERTICES, 3, phase=0.3)
    prior = PriorOutput(
        waves(BATCH, 45, phase=0.4), waves(BATCH, 10, phase=0.5), waves(BATCH, VERTICES, 3, phase=0.6, size=2.0)
    )
    camera = camera_of(waves(BATCH, 9, phase=0.7).requires_grad_(), waves(BATCH, 9, phase=0.8).requires_grad_())
    return ModelOutput(mesh, spread, camera, prior, waves(BATCH, KEYPOINTS, 3, phase=0.9))


@pytest.fixture
def truth() -> Truth:
    return Truth(
        vertices_cm=waves(BATCH, VERTICES, 3, phase=1.0, size=2.0),
        keypoints_crop=waves(BATCH, KEYPOINTS, 2, phase=1.1, size=0.5),
        rotation=rotation_from_6d(waves(BATCH, 6, phase=1.2)),
        scale_per_cm=0.09 + waves(BATCH, phase=1.3, size=0.02),
        translation=waves(BATCH, 2, phase=1.4, size=0.2),
    )


@pytest.fixture
def priors() -> WeakPriors:
    return WeakPriors(Gaussian(waves(BATCH, 9, phase=1.5), waves(BATCH, 9, phase=1.6)))


def values(terms: dict[str, Tensor]) -> dict[str, float]:
    return {name: term.item() for name, term in terms.items()}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def repeated(output: ModelOutput, truth: Truth, count: int) -> tuple[ModelOutput, Truth]:
    """Repeat the batch."""
    ids = list(range(BATCH)) * count
    again = Truth(**{name: getattr(truth, name)[ids] for name in Truth.__dataclass_fields__})
    camera = CameraOutput(*(part[ids] for part in output.camera))
    assert output.prior is not None
    prior = PriorOutput(*(part[ids] for part in output.prior))
    return ModelOutput(output.mean_cm[ids], output.log_variance[ids], camera, prior, None), again


def as_final(output: ModelOutput, truth: Truth, regressor: Tensor, **changes: object) -> dict[str, Tensor]:
    """Return the supervised terms of ``final`` with some fields of the default config changed."""
    return supervised_terms(output, truth, regressor, replace(LossConfig(), **changes), generator=generator())  # type: ignore[arg-type]


# The default form is that of the shipped training.


SQUARED = {
    "vertices": 1.166862429309251,
    "keypoints": 0.10324482816289336,
    "image": 3.9831042983587195,
    "camera": 1.3812869473525256,
    "crop": 5.234405459145261,
    "joints": 6.430535071946624,
}
SHIPPED = {
    "final": {
        "vertices": 1.6087604504257682,
        "keypoints": 1.0462560271788528,
        "image": 0.5654106897394374,
        "camera": 1.3812869473525256,
        "kl": 0.032444247682302405,
        "prior": 0.1645899392234064,
        "crop": 5.234405459145261,
        "joints": 6.430535071946624,
    },
    "prior": SQUARED | {"deviation": 1.6087604504257682},
    "l2": SQUARED | {"kl": 0.03331773604284367, "prior": 0.1645899392234064},
}
"""Of the fixtures above, computed once: no further form may change the default one."""


def test_the_default_losses_are_those_of_the_shipped_training(
    output: ModelOutput, truth: Truth, regressor: Tensor
) -> None:
    alone = output._replace(prior=output.prior._replace(vertices_cm=output.mean_cm))  # type: ignore[union-attr]
    found = {
        "final": loss_terms("final")(output, truth, regressor, LossConfig(), 1.0, None),
        "prior": loss_terms("prior")(alone, truth, regressor, LossConfig(), 1.0, None),
        "l2": loss_terms("final")(output, truth, regressor, LossConfig(likelihood="l2"), 1.0, None),
    }
    for form, terms in found.items():
        assert values(terms) == pytest.approx(SHIPPED[form], rel=1e-11), form


@pytest.mark.parametrize("likelihood", ["gaussian", "l2"])
def test_neutral_switches_are_the_default_to_the_bit(
    output: ModelOutput, truth: Truth, regressor: Tensor, likelihood: str
) -> None:
    stated = {
        "kl_vertices": 1.0,
        "kl_keypoints": 1.0,
        "kl_image": 0.0,
        "reduction": "mean",
        "camera_variance": True,
        "camera_likelihood": 0.05,
        "samples": 0,
        "sample_loss": "distance",
    }
    default = as_final(output, truth, regressor, likelihood=likelihood)
    assert values(as_final(output, truth, regressor, likelihood=likelihood, **stated)) == values(default)


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"kl_vertices": 0.0}, {"kl"}),
        ({"kl_keypoints": 0.0}, {"kl"}),
        ({"kl_image": 1.0}, {"kl"}),
        ({"camera_variance": False}, {"image"}),
        ({"camera_likelihood": 0.0}, {"camera"}),
        ({"reduction": "sum"}, {"vertices", "keypoints", "image", "camera", "kl", "prior"}),
        ({"samples": 1}, {"vertices", "keypoints", "image"}),
        ({"samples": 1, "sample_loss": "distance"}, {"vertices", "keypoints", "image"}),
    ],
)
def test_a_switch_changes_its_terms_alone(
    output: ModelOutput, truth: Truth, regressor: Tensor, changes: dict[str, object], changed: set[str]
) -> None:
    before, after = as_final(output, truth, regressor), as_final(output, truth, regressor, **changes)
    assert before.keys() == after.keys()
    assert {name for name in before if before[name].item() != after[name].item()} == changed


# Divergences, each with a weight of its own.


def joints(mean: Tensor, log_variance: Tensor, regressor: Tensor, rho: float) -> Normal:
    """Return the joints' normal distributions by the whole covariance of the vertices."""
    std = torch.exp(0.5 * log_variance)
    shared = torch.full((VERTICES, VERTICES), rho, dtype=torch.float64).fill_diagonal_(1.0)
    covariance = std[:, :, None] * std[:, None] * shared[None, :, :, None]
    return Normal(regressor @ mean, torch.einsum("kv,bvwc,kw->bkc", regressor, covariance, regressor).sqrt())


def seen(of_joints: Normal, camera: CameraOutput) -> Normal:
    """Return their image by a loop, with the rotation of the whole covariance of every joint."""
    mean = torch.zeros(BATCH, KEYPOINTS, 2, dtype=torch.float64)
    variance = torch.zeros_like(mean)
    for row in range(BATCH):
        scale, rotation = camera.scale[row], camera.rotation[row]
        for joint in range(KEYPOINTS):
            mean[row, joint] = (scale * rotation @ of_joints.mean[row, joint])[:2] + camera.translation[row]
            covariance = scale**2 * rotation @ torch.diag(of_joints.variance[row, joint]) @ rotation.T
            variance[row, joint] = torch.diagonal(covariance)[:2]
    return Normal(mean, variance.sqrt())


@pytest.mark.parametrize("rho", [0.0, 0.95])
@pytest.mark.parametrize("weights", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (2.0, 3.0, 5.0)])
def test_every_divergence_is_that_of_torch_in_its_own_weight(
    output: ModelOutput, truth: Truth, regressor: Tensor, weights: tuple[float, float, float], rho: float
) -> None:
    """Eqs. 3, 5 and 6, second terms."""
    assert output.prior is not None
    prior_spread = torch.full_like(output.mean_cm, -0.4)
    mine, prior = (
        (mean, spread)
        for mean, spread in ((output.mean_cm, output.log_variance), (output.prior.vertices_cm, prior_spread))
    )
    of_vertices = [Normal(mean, torch.exp(0.5 * spread)) for mean, spread in (mine, prior)]
    of_joints = [joints(*part, regressor, rho) for part in (mine, prior)]
    of_image = [seen(part, output.camera) for part in of_joints]
    expected = sum(
        weight * kl_divergence(*pair).mean()
        for weight, pair in zip(weights, (of_vertices, of_joints, of_image), strict=True)
    )
    names = dict(zip(("kl_vertices", "kl_keypoints", "kl_image"), weights, strict=True))
    found = as_final(output, truth, regressor, kl=0.3, vertex_correlation=rho, prior_log_variance=-0.4, **names)
    torch.testing.assert_close(found["kl"], 0.3 * expected)


def test_scale_and_translation_cancel_in_the_divergence_of_the_2d_joints(
    output: ModelOutput, truth: Truth, regressor: Tensor
) -> None:
    """Both Gaussians are seen by one camera: of it only the direction of view is left."""
    only = {"kl_vertices": 0.0, "kl_keypoints": 0.0, "kl_image": 1.0}
    before = as_final(output, truth, regressor, **only)["kl"]
    moved = output.camera._replace(scale=3 * output.camera.scale, translation=output.camera.translation + 0.4)
    torch.testing.assert_close(as_final(output._replace(camera=moved), truth, regressor, **only)["kl"], before)
    turned = output.camera._replace(rotation=output.camera.rotation.roll(1, dims=1))
    assert not torch.isclose(as_final(output._replace(camera=turned), truth, regressor, **only)["kl"], before)


def test_under_l2_the_2d_divergence_is_a_squared_distance_in_the_crop(
    output: ModelOutput, truth: Truth, regressor: Tensor
) -> None:
    assert output.prior is not None
    only = {"kl_vertices": 0.0, "kl_keypoints": 0.0, "kl_image": 0.5, "likelihood": "l2", "kl": 1.0}
    spread = torch.zeros_like(output.mean_cm)
    mine, prior = (
        seen(joints(mean, spread, regressor, 0.0), output.camera).mean
        for mean in (output.mean_cm, output.prior.vertices_cm)
    )
    expected = 0.5 * 20 * (mine - prior).square().mean()
    torch.testing.assert_close(as_final(output, truth, regressor, **only)["kl"], expected)


# Sums and means.


def test_a_sum_is_the_mean_times_the_coordinates_of_a_crop(
    output: ModelOutput, truth: Truth, regressor: Tensor
) -> None:
    """Vertices count 3 V times, joints 3 K, points 2 K, the camera 9; what is ours stays a mean."""
    for name in ("kl_vertices", "kl_keypoints", "kl_image"):
        only = {"kl_vertices": 0.0, "kl_keypoints": 0.0, "kl_image": 0.0, name: 1.0}
        mean, total = (as_final(output, truth, regressor, reduction=kind, **only) for kind in ("mean", "sum"))
        torch.testing.assert_close(total["kl"], COORDINATES[name.removeprefix("kl_")] * mean["kl"])
    for name, count in COORDINATES.items():
        torch.testing.assert_close(total[name], count * mean[name])
    for name in ("crop", "joints"):
        assert total[name].item() == mean[name].item()


@pytest.mark.parametrize("kind", ["likelihood", "distance"])
def test_terms_of_draws_are_sums_too(output: ModelOutput, truth: Truth, regressor: Tensor, kind: str) -> None:
    """The generator gives both the same draws."""
    mean, total = (
        as_final(output, truth, regressor, samples=2, sample_loss=kind, reduction=reduction)
        for reduction in ("mean", "sum")
    )
    for name, count in COORDINATES.items():
        torch.testing.assert_close(total[name], count * mean[name])


def test_squared_terms_are_sums_too(output: ModelOutput, truth: Truth, regressor: Tensor) -> None:
    assert output.prior is not None
    alone = output._replace(prior=output.prior._replace(vertices_cm=output.mean_cm))
    mean, total = (
        loss_terms("prior")(alone, truth, regressor, LossConfig(reduction=kind), 1.0, None) for kind in ("mean", "sum")
    )
    for name, count in (COORDINATES | {"deviation": 3 * VERTICES}).items():
        torch.testing.assert_close(total[name], count * mean[name])


def test_a_sum_does_not_grow_with_the_batch(output: ModelOutput, truth: Truth, regressor: Tensor) -> None:
    once, thrice = (
        supervised_terms(*repeated(output, truth, count), regressor, LossConfig(reduction="sum")) for count in (1, 3)
    )
    for name, value in once.items():
        torch.testing.assert_close(thrice[name], value)


def test_weak_terms_are_sums_over_what_is_known(
    output: ModelOutput, truth: Truth, regressor: Tensor, priors: WeakPriors
) -> None:
    truth.keypoints_crop[0, 1] = torch.nan
    weak = WeakWeights(pose=0, shape=0)
    mean, total = (
        weak_terms(output, truth, regressor, LossConfig(reduction=kind, weak=weak), generator(), priors)
        for kind in ("mean", "sum")
    )
    known_points = KEYPOINTS - 1 / BATCH
    counts = {"vertices": 3 * VERTICES, "keypoints": 3 * KEYPOINTS, "camera": 9}
    counts |= {"image": 2 * known_points, "prior": 2 * known_points}
    for name, count in counts.items():
        torch.testing.assert_close(total[name], count * mean[name])
    assert total["joints"].item() == mean["joints"].item()


# The camera.


def test_without_its_variance_the_camera_is_known_in_2d(output: ModelOutput, truth: Truth, regressor: Tensor) -> None:
    config = LossConfig(camera_variance=False, vertex_correlation=0.0)
    term = supervised_terms(output, truth, regressor, config)["image"]
    points = seen(joints(output.mean_cm, output.log_variance, regressor, 0.0), output.camera)
    torch.testing.assert_close(term, -config.image * points.log_prob(truth.keypoints_crop).mean())
    (of_variance,) = torch.autograd.grad(term, output.camera.log_variance, allow_unused=True)
    assert of_variance is None


def test_in_weak_training_too_the_camera_s_variance_can_be_left_out(
    output: ModelOutput, truth: Truth, regressor: Tensor
) -> None:
    """A camera that is drawn stays drawn: only the variance of the likelihood is the joints' own."""
    surely = camera_of(output.camera.mean, torch.full((BATCH, 9), -40.0, dtype=torch.float64))
    known, unsure = output._replace(camera=surely), output._replace(camera=surely._replace(log_variance=surely[1] + 38))

    def image(of: ModelOutput, camera_variance: bool) -> Tensor:
        config = LossConfig(camera_variance=camera_variance)
        return weak_terms(of, truth, regressor, config, generator())["image"]

    torch.testing.assert_close(image(known, True), image(known, False))
    assert image(unsure, True) < image(unsure, False) - 0.1


def test_eq_4_is_the_camera_s_squares_alone(output: ModelOutput, truth: Truth, regressor: Tensor) -> None:
    config = LossConfig(camera=1.0, camera_likelihood=0.0, reduction="sum", image=0.0)
    log_scale = torch.log(10 * truth.scale_per_cm)[:, None]
    true = torch.cat([six_d_from_rotation(truth.rotation), log_scale, truth.translation], dim=1)
    expected = (output.camera.mean - true).square().sum() / BATCH
    for terms in (loss_terms("final"), loss_terms("prior")):
        found = terms(output, truth, regressor, config, 1.0, None)["camera"]
        torch.testing.assert_close(found, expected)
        (of_variance,) = torch.autograd.grad(found, output.camera.log_variance, retain_graph=True)
        assert not of_variance.any()


# Samples.


@torch.no_grad()
@pytest.mark.parametrize("rho", [0.0, 0.95])
def test_a_draw_in_the_mean_s_place_costs_half_a_nat(
    output: ModelOutput, truth: Truth, regressor: Tensor, rho: float
) -> None:
    """x ~ N(m, v), so E[(t - x)^2 / v] = (t - m)^2 / v + 1, for vertices, 3D joints and 2D joints.

    In 2D only a rotation that swaps axes keeps the joints' axes independent.
    """
    swapped = output.camera._replace(rotation=torch.eye(3, dtype=torch.float64).roll(1, dims=0).expand(BATCH, 3, 3))
    output = output._replace(camera=swapped)
    config = LossConfig(image=1.0, vertex_correlation=rho, camera_variance=False)
    exact = supervised_terms(output, truth, regressor, config)
    many = repeated(output, truth, DRAWS)
    drawn = supervised_terms(*many, regressor, replace(config, samples=2), generator=generator())
    for name in ("vertices", "keypoints", "image"):
        assert drawn[name].item() == pytest.approx(exact[name].item() + 0.5, abs=0.03), name


@torch.no_grad()
def test_the_distance_of_draws_is_the_folded_normal_s_mean_and_the_square_with_its_variance(
    output: ModelOutput, truth: Truth, regressor: Tensor
) -> None:
    config = LossConfig(image=1.0, samples=1, sample_loss="distance", vertex_correlation=0.6)
    found = supervised_terms(*repeated(output, truth, 2 * DRAWS), regressor, config, generator=generator())
    error, std = output.mean_cm - truth.vertices_cm, torch.exp(0.5 * output.log_variance)
    folded = std * math.sqrt(2 / math.pi) * torch.exp(-0.5 * (error / std).square())
    folded = folded + error * (1 - 2 * Normal(0.0, 1.0).cdf(-error / std))
    assert found["vertices"].item() == pytest.approx(float(folded.mean()), rel=0.01)
    of_joints = joints(output.mean_cm, output.log_variance, regressor, 0.6)
    squares = (of_joints.mean - regressor @ truth.vertices_cm).square() + of_joints.variance
    assert found["keypoints"].item() == pytest.approx(float(squares.mean()), rel=0.01)
    points = seen(of_joints, output.camera)
    squares = 20 * ((points.mean - truth.keypoints_crop).square() + points.variance)
    assert found["image"].item() == pytest.approx(float(squares.mean()), rel=0.01)


def test_draws_are_the_generator_s_and_move_mean_and_variance(
    output: ModelOutput, truth: Truth, regressor: Tensor
) -> None:
    mean, spread = output.mean_cm.requires_grad_(), output.log_variance.requires_grad_()
    for kind in ("likelihood", "distance"):
        config = LossConfig(samples=2, sample_loss=kind)
        first, again, other = (
            supervised_terms(output, truth, regressor, config, generator=generator(seed))["vertices"]
            for seed in (1, 1, 2)
        )
        assert first.item() == again.item() != other.item()
        for gradient in torch.autograd.grad(first, (mean, spread)):
            assert gradient.any(), kind


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"reduction": "max"}, ErrorCode.UNKNOWN_NAME),
        ({"sample_loss": "l1"}, ErrorCode.UNKNOWN_NAME),
        ({"samples": -1}, ErrorCode.BAD_VALUE),
        ({"samples": 2, "likelihood": "l2"}, ErrorCode.OPTION_CONFLICT),
    ],
)
def test_wrong_forms_are_named(wrong: dict[str, object], code: ErrorCode) -> None:
    with raises(code, match=next(iter(wrong))):
        LossConfig(**wrong)  # type: ignore[arg-type]
