"""The frozen held-out crops: seeds in ``assets/held_out.json`` and ``held_out_2.json``, rendered where needed.

Nothing is trained on these seeds. The file also holds, to check that another machine renders the same hands, a digest
of the first shard's labels of each part, and a few of its numbers for where rounding differs.
"""

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import write_files
from handviz.core.json_files import read_json
from handviz.core.paths import FORMER_HELD_OUT_FILE, HELD_OUT_FILE, RESTORE
from handviz.core.process import usable_cores
from handviz.core.records import FloatArray
from handviz.data.synthetic import generator
from handviz.data.synthetic.dataset import Crops, read_labels

logger = logging.getLogger(__name__)
DIGEST_STEP = 1e-3
CHECKED_SCALES = 8
SCALE_TOLERANCE = 1e-3


def write_text(path: Path, text: str) -> Path:
    """Write a file atomically; HandvizError if that fails."""
    write_files({path: text.encode("utf-8")})
    return path


@dataclass(frozen=True)
class Part:
    """Crops of one seed whose ``hidden_fraction`` lies in a range."""

    name: str
    seed: int
    count: int
    hidden: tuple[float, float]
    labels_sha256: str | None = None
    """of the first shard's labels, rounded; None until it is frozen"""
    first_scales: tuple[float, ...] | None = None
    """labels ``scale`` of its first crops, half-sides per metre"""
    no_hand: float = 0.0
    """fraction of crops without a hand: 0, or 1 for a part that counts in no error"""
    views: int = 1
    """of a moment; above 1 ``count`` is of the crops of all views, ``hidden`` is the generator's rule of moments"""

    def __post_init__(self) -> None:
        low, high = self.hidden
        if self.count < 1 or not 0 <= low < high <= 1 or not self.name.replace(" ", "").isalnum():
            raise ValueError("its count, hidden fraction or name is out of range")
        if self.no_hand not in (0, 1):
            raise ValueError("some of its crops show a hand and some do not")
        if not 1 <= self.views <= generator.MAX_VIEWS or self.count % self.views or (self.views > 1 and self.no_hand):
            raise ValueError("its crops are no whole moments of hands")

    def folder(self, directory: Path) -> Path:
        """Return the folder of its crops below the held-out folder."""
        return directory / self.name.replace(" ", "_")


@dataclass(frozen=True)
class HeldOut:
    """The parts of the held-out set, with their generator's version."""

    generator_version: int
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        for field in ("name", "seed"):
            if len({getattr(part, field) for part in self.parts}) < max(1, len(self.parts)):
                raise ValueError(f"no parts, or two of the same {field}")
        if not self.of(no_hand=False):
            raise ValueError("no part shows hands")

    def of(self, *, no_hand: bool) -> tuple[Part, ...]:
        """Return the parts of single crops that show hands, or those that show none."""
        return tuple(part for part in self.parts if bool(part.no_hand) == no_hand and part.views == 1)

    @property
    def of_moments(self) -> tuple[Part, ...]:
        """Parts of moments that several cameras see: they count in no figure of single crops."""
        return tuple(part for part in self.parts if part.views > 1)

    @property
    def count(self) -> int:
        """Number of single crops with a hand."""
        return sum(part.count for part in self.of(no_hand=False))


def held_out_file(version: int = generator.GENERATOR_VERSION) -> Path:
    """Return the file of the crops that were held out of a generator's version."""
    return FORMER_HELD_OUT_FILE if version == generator.MODEL_SPACE_VERSION else HELD_OUT_FILE


def read_held_out(path: Path = HELD_OUT_FILE) -> HeldOut:
    """Read the list of seeds; HandvizError if the file is missing or damaged."""
    return read_json(path, HeldOut, RESTORE)


def held_out_seeds() -> dict[int, str]:
    """Return the seeds of all held-out crops and the names of their parts: nothing is trained on them."""
    versions = (generator.GENERATOR_VERSION, generator.MODEL_SPACE_VERSION)
    return {part.seed: part.name for version in versions for part in read_held_out(held_out_file(version)).parts}


def fractions(held_out: HeldOut, count: int) -> list[int]:
    """Return how many of ``count`` crops each part that shows hands gives, in proportion.

    HandvizError above the set's size.
    """
    if not 1 <= count <= held_out.count:
        raise HandvizError(
            f"--count must be from 1 to {held_out.count}, the size of the held-out set", ErrorCode.BAD_VALUE
        )
    sizes = [part.count for part in held_out.of(no_hand=False)]
    ends = np.rint(np.cumsum(sizes) * count / held_out.count).astype(int)
    return [int(size) for size in np.diff(ends, prepend=0)]


def fractions_without_hand(held_out: HeldOut, count: int) -> list[int]:
    """Return how many crops each part without hands gives beside ``count`` crops with one: in proportion, rounded up.

    They are further crops: the hands of ``count`` stay the same, and the errors of the card.
    """
    return [math.ceil(part.count * count / held_out.count) for part in held_out.of(no_hand=True)]


def plan(part: Part, directory: Path, count: int, version: int) -> generator.Plan:
    """Return the config of a generator's version for a part's first ``count`` crops."""
    if part.views > 1:
        return generator.Plan(part.folder(directory), part.seed, count, version=version, views=part.views)
    return generator.Plan(
        part.folder(directory), part.seed, count, hidden=part.hidden, no_hand=part.no_hand, version=version
    )


def render_held_out(
    held_out: HeldOut, directory: Path, count: int, *, keep: bool = False, no_hand: bool = False
) -> list[Crops]:
    """Render what is missing of the first ``count`` crops with a hand, all parts in proportion.

    ``no_hand``: of the crops without a hand that belong to that count instead. A folder that is kept gets whole shards,
    so that a smaller count never spoils those of a larger one. HandvizError if the generator is of another version,
    which renders other hands.
    """
    version = _version(held_out)
    sizes = fractions_without_hand(held_out, count) if no_hand else fractions(held_out, count)
    jobs = []
    for part, size in zip(held_out.of(no_hand=no_hand), sizes, strict=True):
        whole = min(part.count, -(-size // generator.SHARD_SIZE) * generator.SHARD_SIZE)
        jobs += [(plan(part, directory, whole if keep else size, version), size)] if size else []
    return _render(jobs)


def render_held_out_moments(
    held_out: HeldOut, directory: Path, count: int | None = None, *, keep: bool = False
) -> list[Crops]:
    """Render what is missing of the first ``count`` moments of every part of several views, or of all.

    A folder that is kept gets whole shards. HandvizError if a part has fewer moments, or the generator is of another
    version.
    """
    version, jobs = _version(held_out), []
    for part in held_out.of_moments:
        moments = part.count // part.views
        if count is not None and not 1 <= count <= moments:
            raise HandvizError(f"{part.name} are {moments}: ask for 1 to {moments} of them", ErrorCode.BAD_VALUE)
        size, shard = (count or moments) * part.views, generator.shard_size(part.views)
        jobs.append(
            (plan(part, directory, min(part.count, -(-size // shard) * shard) if keep else size, version), size)
        )
    return _render(jobs)


def _version(held_out: HeldOut) -> int:
    """Return the version of the generator that renders the set; HandvizError if this one cannot."""
    version = held_out.generator_version
    if version not in (generator.GENERATOR_VERSION, generator.MODEL_SPACE_VERSION):
        raise HandvizError(
            f"the held-out set is of generator version {version}, this is version "
            f"{generator.GENERATOR_VERSION}: its crops cannot be rendered",
            ErrorCode.VERSION_MISMATCH,
        )
    return version


def _render(jobs: Sequence[tuple[generator.Plan, int]]) -> list[Crops]:
    """Render what plans lack, and return the first crops of each."""
    with tqdm(total=sum(job.count for job, _ in jobs), desc="rendering held-out hands", leave=False) as bar:
        for job, _ in jobs:
            for done in generator.render(job, usable_cores()):
                bar.update(done)
    return [Crops(job.directory, size) for job, size in jobs]


def labels_digest(labels: dict[str, FloatArray]) -> str:
    """Return the SHA-256 of all labels in units of DIGEST_STEP, names in order; -0 counts as 0."""
    digest = hashlib.sha256()
    for name in sorted(labels):
        values = np.asarray(labels[name], np.float64)
        digest.update(f"{name} {values.shape}".encode())
        digest.update(np.rint(values / DIGEST_STEP).astype("<i8").tobytes())
    return digest.hexdigest()


def _first_labels(part: Part, directory: Path) -> dict[str, FloatArray] | None:
    """Return the labels of the first shard; None if a small ``count`` cut it short (a shard's hands depend on its
    size)."""
    labels = read_labels(part.folder(directory), 0)
    return labels if len(labels["scale"]) == min(part.count, generator.shard_size(part.views)) else None


def label_warnings(held_out: HeldOut, crops: Sequence[Crops], directory: Path) -> list[str]:
    """Return a warning for each rendered part whose hands differ from the frozen ones, if it was frozen."""
    found = []
    for part in held_out.parts:
        rendered = any(one.directory == part.folder(directory) for one in crops)
        labels = _first_labels(part, directory) if rendered and part.labels_sha256 else None
        if labels is not None and not _is_frozen(part, labels):
            found.append(
                f"{part.name}: these are not the frozen hands, compare figures with those of this machine only"
            )
    return found


def _is_frozen(part: Part, labels: dict[str, FloatArray]) -> bool:
    """Return whether labels of the first shard are the frozen ones, if need be but for rounding, which is logged."""
    if labels_digest(labels) == part.labels_sha256:
        return True
    if not part.labels_sha256 or not _only_rounded(labels["scale"], part.first_scales or ()):
        return False
    logger.info("%s: labels differ from the frozen ones by rounding", part.name)
    return True


def _only_rounded(scales: FloatArray, first_scales: Sequence[float]) -> bool:
    """Return whether labels ``scale`` (N,) begin with the frozen ones but for rounding; False if nothing was frozen."""
    found = scales[: len(first_scales)]
    return 0 < len(first_scales) == len(found) and np.allclose(found, first_scales, rtol=SCALE_TOLERANCE)


def freeze(held_out: HeldOut, directory: Path, path: Path) -> HeldOut:
    """Write the digests of the rendered first shards into the file; HandvizError if one is cut short.

    Parts whose hands are the frozen ones keep their digest, which another machine's rounding would change.
    """
    parts = []
    for part in held_out.parts:
        labels = _first_labels(part, directory)
        if labels is None:
            raise HandvizError(
                f"{part.folder(directory)} holds no whole first shard: render more", ErrorCode.EMPTY_INPUT
            )
        if not _is_frozen(part, labels):
            scales = tuple(round(float(value), 4) for value in labels["scale"][:CHECKED_SCALES])
            part = replace(part, labels_sha256=labels_digest(labels), first_scales=scales)
        parts.append(part)
    frozen = replace(held_out, parts=tuple(parts))
    write_text(path, json.dumps(asdict(frozen), indent=2) + "\n")
    return frozen
