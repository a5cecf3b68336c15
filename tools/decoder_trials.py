"""Train forms of AMVUR's heads on one frozen trunk with several seeds, and print how they differ.

The trunk is that of a file or checkpoint; its features of the crops are computed once, those to train on with one draw
of the landmarks' errors, and are the same for all. Every form sees the same crops; a seed draws the first weights and
their order. Results are saved in a file, so that a stopped run resumes where it was.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

import tools
from handviz.core import metrics
from handviz.core.arguments import Count, Option, between, some_words
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import make_folder
from handviz.core.gaussian import gaussian_nll
from handviz.core.output import print_text
from handviz.core.paths import MODELS
from handviz.core.units import CENTIMETRES_PER_METRE
from handviz.data.synthetic.dataset import read_labels, shard_numbers
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.loss_config import LossConfig
from handviz.models.amvur.loss_parts import mesh_edges, terms_of_hands
from handviz.models.amvur.losses import edge_terms, loss_terms, presence_terms
from handviz.models.amvur.model import HandModel, ModelConfig, ModelOutput, Variant, build_model
from handviz.models.amvur.training import AmvurTask
from handviz.models.amvur.training_cache import CachedSamples
from handviz.models.amvur.training_config import TrainConfig
from handviz.models.truth import Truth
from handviz.training.augmentation import LandmarkNoise
from tools.decoder_oracle import Schedule, minimise

PLAIN = {"embedding": False, "feed_forward": False, "blocks": 1, "camera": "feature", "residuals": False}
REST: dict[str, Any] = {"variant": "amvur", **PLAIN}
ON_PRIOR: dict[str, Any] = {"variant": "final", "camera": "feature"}
FORMS: MappingProxyType[str, tuple[dict[str, Any], dict[str, Any]]] = MappingProxyType(
    {
        "prior": ({"variant": "prior", "camera": "feature"}, {}),
        "amvur": (REST, {}),
        "amvur embedding": (REST | {"embedding": True}, {}),
        "amvur squares": (REST, {"likelihood_from": 0.7}),
        "amvur embedding squares": (REST | {"embedding": True}, {"likelihood_from": 0.7}),
        "amvur embedding beta": (REST | {"embedding": True}, {"beta": 0.5}),
        "amvur embedding ff squares": (REST | {"embedding": True, "feed_forward": True}, {"likelihood_from": 0.7}),
        "amvur embedding ff 2 squares": (
            REST | {"embedding": True, "feed_forward": True, "blocks": 2},
            {"likelihood_from": 0.7},
        ),
        "amvur rest ff squares edges": (
            REST | {"embedding": True, "feed_forward": True},
            {"likelihood_from": 0.7, "edges": 3.0},
        ),
        "amvur residuals": (
            REST | {"embedding": True, "feed_forward": True, "residuals": True},
            {"likelihood_from": 0.7},
        ),
        "final plain": (ON_PRIOR | PLAIN, {}),
        "final": (ON_PRIOR, {"likelihood_from": 0.7}),
        "final without residuals": (ON_PRIOR | {"residuals": False}, {"likelihood_from": 0.7}),
        "final without ff": (ON_PRIOR | {"feed_forward": False}, {"likelihood_from": 0.7}),
        "final edges": (ON_PRIOR, {"likelihood_from": 0.7, "edges": 3.0}),
        "final joints camera": (ON_PRIOR | {"camera": "joints"}, {"likelihood_from": 0.7}),
        "final joints camera rotation": (ON_PRIOR | {"camera": "joints"}, {"likelihood_from": 0.7, "rotation": 1.0}),
    }
)
"""Changes of network and loss."""
DEFAULT_FORMS = (
    *("prior", "amvur", "amvur embedding", "amvur squares", "amvur embedding squares", "amvur residuals"),
    *("final", "final without residuals"),
)
MAX_HIDDEN = 0.5
"""Fraction that objects hide of hands that are tested, at most."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Crops, forms and length of the trainings."""

    data: Path
    """Folder of rendered crops to train on."""
    test: Path
    """Folder of rendered crops to test on."""
    out: Path
    """File of results, a line of JSON each; what is in it is not trained again."""
    start_from: Path = MODELS / "handviz_final.onnx"
    """File or checkpoint whose trunk to use."""
    forms: Annotated[tuple[str, ...], Option(metavar="FORM ...", read=some_words, words="*")] = DEFAULT_FORMS
    """Of those that --help lists below."""
    seeds: Count = 3
    """Trainings of every form, with the seeds 0, 1, ..."""
    limit: Count = 24_000
    """Crops in the folder to use."""
    crops: Count = 60_000
    """Crops seen by a training."""
    batch: Count = 64
    """Crops in a step."""
    rate: Annotated[float, between(0, 1)] = 1e-3
    """Learning rate of AdamW, after a warm-up; half a cosine to zero."""


class Trial(NamedTuple):
    """What is trained: a form, from a seed, on so many crops."""

    form: str
    seed: int
    crops: int


@dataclass(frozen=True)
class Result:
    """Errors of one training on the crops with a hand, most of which is visible."""

    form: str
    seed: int
    crops: int
    pa_mpvpe_mm: float
    pa_mpjpe_mm: float
    inner_pa_mpvpe_mm: float | None
    """of the prior-net inside"""
    rotation_deg: float
    """median"""
    nll: float
    """of a coordinate, nats in cm"""
    thickness_percent: float
    """of edge lengths against the true ones, sum of all"""


def features(
    folder: Path, arguments: Arguments, template: HandTemplate, limit: int | None, noise: LandmarkNoise
) -> CachedSamples:
    """Return the frozen trunk's features of a folder's crops, with such errors of MediaPipe's landmarks."""
    model = ModelConfig(variant="prior", camera="feature")
    config = TrainConfig(
        data=(folder,), run=arguments.out.parent, limit=limit, model=model, tail_rate=0.0,
        start_from=(arguments.start_from,), landmark_noise=noise,
    )  # fmt: skip
    samples = AmvurTask(config, template).samples
    assert isinstance(samples, CachedSamples)
    return samples


def trained(form: str, seed: int, samples: CachedSamples, template: HandTemplate, arguments: Arguments) -> HandModel:
    """Return a network whose heads were trained on the features."""
    model_changes, loss_changes = FORMS[form]
    config, loss = replace(ModelConfig(), **model_changes), replace(LossConfig(), **loss_changes)
    torch.manual_seed(seed)
    model = build_model(config, template)
    steps = arguments.crops // arguments.batch
    batches = tqdm(_batches(len(samples), steps, arguments.batch, seed), total=steps, desc=form)
    terms = _Terms(config.variant, loss, template)
    losses = (
        terms.total(model.from_cached(inputs), truth, step / steps)
        for step, (inputs, truth) in enumerate(map(samples.batch, batches))
    )
    minimise(model.heads.train(), losses, Schedule(steps, arguments.rate, max(1, steps // 20)))
    return model.eval()


class _Terms:
    """The loss of AMVUR's training, of one form."""

    def __init__(self, variant: Variant, config: LossConfig, template: HandTemplate) -> None:
        self._config, self._of_variant = config, loss_terms(variant)
        self._regressor, self._edges = torch.tensor(template.keypoint_regressor).float(), mesh_edges(template.faces)

    def total(self, output: ModelOutput, truth: Truth, progress: float) -> torch.Tensor:
        """Return the sum of all terms of a batch at a fraction of the steps."""

        def of_hands(output: ModelOutput, truth: Truth) -> dict[str, torch.Tensor]:
            terms = self._of_variant(output, truth, self._regressor, self._config, progress, None)
            return terms | edge_terms(output, truth, self._edges, self._config)

        terms = terms_of_hands(of_hands, output, truth, self._regressor)
        return torch.stack(list((terms | presence_terms(output, truth, self._config)).values())).sum()


def _batches(count: int, steps: int, size: int, seed: int) -> Iterable[torch.Tensor]:
    """Yield ``steps`` batches of the numbers 0 to count - 1, in an order that the seed draws anew for every pass."""
    generator, left = torch.Generator().manual_seed(seed), torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(left) < size:
            left = torch.randperm(count, generator=generator)
        yield left[:size]
        left = left[size:]


@torch.no_grad()
def measured(trial: Trial, model: HandModel, samples: CachedSamples, rows: torch.Tensor) -> Result:
    """Return the errors on some rows of the test's features."""
    template = load_open_hand()
    parts = [_answers(model, samples, ids) for ids in rows.split(64)]
    columns = [torch.cat(column).double().numpy() for column in zip(*parts, strict=True)]
    mesh_cm, inner_cm, true_cm, angles, likelihoods = columns
    regressor, edges = template.keypoint_regressor, mesh_edges(template.faces).numpy()
    lengths = [np.linalg.norm(m[:, edges[:, 0]] - m[:, edges[:, 1]], axis=2).sum() for m in (mesh_cm, true_cm)]
    return Result(
        *trial,
        _aligned_mm(mesh_cm, true_cm),
        _aligned_mm(regressor @ mesh_cm, regressor @ true_cm),
        _aligned_mm(inner_cm, true_cm) if FORMS[trial.form][0]["variant"] == "final" else None,
        float(np.median(angles)),
        float(likelihoods.mean()),
        float(100 * (lengths[0] / lengths[1] - 1)),
    )


def _answers(model: HandModel, samples: CachedSamples, ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return mesh, mesh of the prior-net inside and true mesh (B, V, 3), cm; rotation's error (B,), degrees; negative
    log-likelihood (B,) of a coordinate."""
    inputs, truth = samples.batch(ids)
    output = model.from_cached(inputs)
    inner = output.prior.vertices_cm if output.prior is not None else output.mean_cm
    difference = output.camera.rotation @ truth.rotation.transpose(1, 2)
    cosine = ((difference.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1)
    nll = gaussian_nll(truth.vertices_cm, output.mean_cm, output.log_variance).mean((1, 2))
    return output.mean_cm, inner, truth.vertices_cm, torch.rad2deg(torch.acos(cosine)), nll


def _aligned_mm(mine_cm: np.ndarray, true_cm: np.ndarray) -> float:
    return float(metrics.mpjpe_mm(metrics.procrustes_aligned(mine_cm, true_cm), true_cm).mean() / CENTIMETRES_PER_METRE)


def visible_hands(folder: Path, count: int) -> torch.Tensor:
    """Return the numbers of the crops that show a hand of which objects hide less than half."""
    labels = [read_labels(folder, shard) for shard in shard_numbers(folder)]
    hidden = np.concatenate([part["hidden_share"] for part in labels])[:count]
    is_hand = np.concatenate([part.get("is_hand", np.ones(len(part["scale"]))) for part in labels])[:count]
    return torch.from_numpy(np.flatnonzero((hidden < MAX_HIDDEN) & (is_hand > 0)))


def table(results: Sequence[Result]) -> str:
    """Return a Markdown table of means, and of standard deviations over seeds."""
    lines = ["| form | seeds | PA-MPVPE, mm | PA-MPJPE, mm | prior-net inside | rotation, degrees | nll | edges, % |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for form in dict.fromkeys(result.form for result in results):
        of_form = [result for result in results if result.form == form]
        names = ("pa_mpvpe_mm", "pa_mpjpe_mm", "inner_pa_mpvpe_mm", "rotation_deg", "nll", "thickness_percent")
        cells = [_cell([getattr(result, name) for result in of_form]) for name in names]
        lines.append(f"| {form} | {len(of_form)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return f"{np.mean(known):.2f} ± {np.std(known, ddof=1):.2f}" if len(known) > 1 else f"{known[0]:.2f}"


def _known(path: Path) -> list[Result]:
    return [Result(**json.loads(line)) for line in path.read_text().splitlines()] if path.is_file() else []


def run(arguments: Arguments) -> int:
    """Train what is missing of all forms and seeds, seed by seed, then print the table."""
    unknown = [form for form in arguments.forms if form not in FORMS]
    if unknown:
        raise HandvizError(f"{unknown[0]!r} is no form: there are {', '.join(FORMS)}", ErrorCode.UNKNOWN_NAME)
    template = load_open_hand()
    make_folder(arguments.out.parent)
    done = {(result.form, result.seed, result.crops) for result in _known(arguments.out)}
    todo = [(form, seed) for seed in range(arguments.seeds) for form in arguments.forms
            if (form, seed, arguments.crops) not in done]  # fmt: skip
    if todo:
        samples = features(arguments.data, arguments, template, arguments.limit, LandmarkNoise())
        # As evaluation, which never changes landmarks.
        tests = features(arguments.test, arguments, template, None, LandmarkNoise(fraction=0.0))
        rows = visible_hands(arguments.test, len(tests))
    for form, seed in todo:
        model = trained(form, seed, samples, template, arguments)
        result = measured(Trial(form, seed, arguments.crops), model, tests, rows)
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(result)) + "\n")
    print_text(table([result for result in _known(arguments.out) if result.crops == arguments.crops]))
    return 0


if __name__ == "__main__":
    sys.exit(tools.run("decoder_trials"))
