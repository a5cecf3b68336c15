"""The schedule of likelihoods, crops without a hand, rotation and presence, against independent computations."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from handviz.core.errors import ErrorCode
from handviz.core.gaussian import Gaussian, rotation_from_6d
from handviz.core.records import PALM_KEYPOINTS
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.amvur.features import ImageFeatures
from handviz.models.amvur.loss_config import LossConfig
from handviz.models.amvur.loss_parts import Fit, edge_error, fixed_mean, mesh_edges, rotation_error, terms_of_hands
from handviz.models.amvur.losses import edge_terms, loss_terms, presence_terms, supervised_terms
from handviz.models.amvur.model import VARIANTS, HandModel, ModelConfig, ModelOutput, build_model
from handviz.models.truth import Truth
from tests.errors import raises

BATCH = 4
SMALL = ModelConfig(width=16, regressor_width=16, feature_width=16, feature_layers=1)
REGRESSOR = torch.from_numpy(load_open_hand().keypoint_regressor.copy()).float()


def small_model(**changes: object) -> HandModel:
    torch.manual_seed(0)
    return build_model(replace(SMALL, **changes), load_open_hand())


def answer(model: HandModel, rows: int = BATCH) -> ModelOutput:
    generator = torch.Generator().manual_seed(1)
    feature = torch.randn(rows, model.features.feature_size, generator=generator)
    joints = torch.randn(rows, 21, 16, generator=generator)
    return model.heads(ImageFeatures(feature, joints, feature[:, -63:].unflatten(1, (21, 3))))


def hands(*is_hand: bool) -> Truth:
    generator = torch.Generator().manual_seed(2)
    count = len(is_hand)
    rest_cm = 100 * torch.from_numpy(load_open_hand().vertices_m.copy()).float()
    return Truth(
        rest_cm + 0.3 * torch.randn(count, 778, 3, generator=generator),
        torch.rand(count, 21, 2, generator=generator) - 0.5,
        rotation_from_6d(torch.randn(count, 6, generator=generator)),
        torch.full((count,), 0.09),
        torch.zeros(count, 2),
        torch.tensor(is_hand),
    )


def gradients(loss: torch.Tensor, *of: torch.Tensor) -> list[torch.Tensor]:
    return [torch.zeros(()) if one is None else one for one in torch.autograd.grad(loss, of, allow_unused=True)]


def test_squares_first_train_the_mean_by_squares_and_the_variance_by_its_likelihood() -> None:
    true, mean = torch.randn(5, 3), torch.randn(5, 3, requires_grad=True)
    log_variance = torch.randn(5, 3, requires_grad=True)
    found = Gaussian(mean, log_variance)
    of_mean, of_variance = gradients(Fit(squares_first=True).term(true, found, fixed_mean(found)), mean, log_variance)
    torch.testing.assert_close(of_mean, 2 * (mean - true).detach() / true.numel())
    likelihood = -Normal(mean.detach(), torch.exp(0.5 * log_variance)).log_prob(true).mean()
    torch.testing.assert_close(of_variance, gradients(likelihood, log_variance)[0])


@pytest.mark.parametrize(("beta", "unit_cm"), [(0.0, 1.0), (0.5, 1.0), (1.0, 10.0)])
def test_the_beta_likelihood_weighs_every_coordinate_by_its_variance(beta: float, unit_cm: float) -> None:
    true, mean = torch.randn(5, 3), torch.randn(5, 3, requires_grad=True)
    log_variance = torch.randn(5, 3)
    found = Gaussian(mean, log_variance)
    (slope,) = gradients(Fit(beta=beta).term(true, found, fixed_mean(found), unit_cm=unit_cm), mean)
    variance = log_variance.exp().numpy().astype(np.float64)
    by_hand = (mean - true).detach().numpy() / variance * (variance * unit_cm**2) ** beta / true.numel()
    np.testing.assert_allclose(slope.numpy(), by_hand, rtol=1e-4)


def test_the_likelihood_starts_at_its_step() -> None:
    output, truth = answer(small_model()), hands(*[True] * BATCH)
    early = LossConfig(likelihood_from=0.7)
    before = supervised_terms(output, truth, REGRESSOR, early, 0.699)
    after = supervised_terms(output, truth, REGRESSOR, early, 0.7)
    plain = supervised_terms(output, truth, REGRESSOR, LossConfig(), 0.0)
    assert {name: term.item() for name, term in after.items()} == {name: term.item() for name, term in plain.items()}
    differing = {name for name in before if before[name].item() != after[name].item()}
    assert differing == {"vertices", "keypoints", "image"}


def test_before_the_likelihood_no_mean_learns_from_a_variance() -> None:
    """By another seed of variances: the means' gradient stays the same."""
    found = []
    for shift in (0.0, 1.0):
        model = small_model(variant="amvur")
        output = answer(model)
        output = output._replace(log_variance=output.log_variance + shift)
        terms = supervised_terms(output, hands(*[True] * BATCH), REGRESSOR, LossConfig(likelihood_from=1.0), 0.0)
        of_mean = [*model.heads.amvur.mean.parameters(), *model.heads.camera.correction.parameters()]
        found.append(gradients(terms["vertices"] + terms["keypoints"] + terms["image"], *of_mean))
    for one, other in zip(*found, strict=True):
        assert one.abs().sum() > 0
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_terms_are_of_crops_with_a_hand_alone(variant: str) -> None:
    output, config = answer(small_model(variant=variant)), LossConfig(rotation=1.0)
    truth = hands(True, False, True, False)
    broken = replace(truth, vertices_cm=truth.vertices_cm.clone())
    broken.vertices_cm[1] = torch.nan
    terms = loss_terms(variant)

    def of(output: ModelOutput, truth: Truth) -> dict[str, torch.Tensor]:
        return terms(output, truth, REGRESSOR, config, 0.0)

    found = terms_of_hands(of, output, broken, REGRESSOR)
    chosen = answer(small_model(variant=variant))
    two = ModelOutput(
        chosen.mean_cm[::2],
        chosen.log_variance[::2],
        type(chosen.camera)(*(part[::2] for part in chosen.camera)),
        None if chosen.prior is None else type(chosen.prior)(*(part[::2] for part in chosen.prior)),
        chosen.joints_crop[::2],
    )
    alone = of(two, Truth(*(getattr(truth, name)[::2] for name in Truth.__dataclass_fields__)))
    assert found.keys() == alone.keys()
    for name, term in found.items():
        torch.testing.assert_close(term, alone[name], rtol=1e-6, atol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_batch_without_any_hand_costs_nothing_and_pushes_nothing(variant: str) -> None:
    model = small_model(variant=variant)
    output, truth, config = answer(model), hands(*[False] * BATCH), LossConfig(rotation=1.0)
    truth.vertices_cm.fill_(torch.nan)

    def of(output: ModelOutput, truth: Truth) -> dict[str, torch.Tensor]:
        return loss_terms(variant)(output, truth, REGRESSOR, config, 0.0)

    terms = terms_of_hands(of, output, truth, REGRESSOR)
    usual = of(output, hands(*[True] * BATCH))
    assert terms.keys() == usual.keys()
    assert all(term.item() == 0 for term in terms.values())
    others = [weight for name, weight in model.heads.named_parameters() if not name.startswith("presence")]
    assert all((slope == 0).all() for slope in gradients(sum(terms.values()), *others))


def test_the_presence_is_the_cross_entropy_of_all_crops() -> None:
    output, truth = answer(small_model()), hands(True, False, True, True)
    found = presence_terms(output, truth, LossConfig(presence=2.0))["presence"]
    probability = 1 / (1 + np.exp(-output.hand_logit.detach().numpy().astype(np.float64)))
    by_hand = -np.mean([np.log(p if known else 1 - p) for p, known in zip(probability, truth.is_hand, strict=True)])
    assert found.item() == pytest.approx(2 * by_hand, rel=1e-5)
    assert presence_terms(answer(small_model(presence=False)), truth, LossConfig()) == {}


def test_the_rotation_s_error_is_the_chord_of_the_palm() -> None:
    truth = hands(True, True)
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # a quarter about z
    output = answer(small_model(), 2)
    camera = output.camera._replace(rotation=turn @ truth.rotation)
    keypoints = (REGRESSOR @ truth.vertices_cm).numpy()
    seen = np.einsum("bij,bkj->bki", truth.rotation.numpy(), keypoints[:, PALM_KEYPOINTS] - keypoints[:, :1])
    chords = np.sqrt(2) * np.hypot(seen[..., 0], seen[..., 1])
    assert rotation_error(camera, truth, REGRESSOR).item() == pytest.approx(chords.mean(), rel=1e-4)


@pytest.mark.parametrize(
    "change", [{"likelihood_from": 1.5}, {"beta": -0.1}, {"rotation": -1.0}, {"presence": float("nan")}]
)
def test_a_loss_that_cannot_be_is_said(change: dict[str, float]) -> None:
    with raises(ErrorCode.BAD_VALUE):
        LossConfig(**change)


# Lengths of edges.


def test_every_edge_of_a_mesh_is_there_once() -> None:
    faces = np.array([[0, 1, 2], [2, 1, 3]])
    assert mesh_edges(faces).tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]


def test_edges_know_lengths_and_neither_place_nor_rotation() -> None:
    generator = torch.Generator().manual_seed(0)
    mesh = torch.randn(2, 5, 3, generator=generator)
    edges = torch.tensor([[0, 1], [1, 2], [3, 4]])
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0]
    assert edge_error(mesh @ turn + 3.0, mesh, edges).item() < 1e-4
    lengths = np.linalg.norm(mesh[:, [0, 1, 3]].numpy() - mesh[:, [1, 2, 4]].numpy(), axis=2)
    assert edge_error(0.9 * mesh, mesh, edges).item() == pytest.approx(0.1 * lengths.mean(), rel=1e-3)


def test_the_term_of_edges_has_its_weight_and_is_off_by_default() -> None:
    output, truth = answer(small_model()), hands(*[True] * BATCH)
    edges = torch.tensor([[0, 1], [1, 2]])
    assert edge_terms(output, truth, edges, LossConfig()) == {}
    (once,), (twice,) = (edge_terms(output, truth, edges, LossConfig(edges=w)).values() for w in (1.0, 2.0))
    assert twice.item() == pytest.approx(2 * once.item())
    assert once.item() == pytest.approx(edge_error(output.mean_cm, truth.vertices_cm, edges).item())
