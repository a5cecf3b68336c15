"""Training samples in shards, so that an interrupted rendering continues where it stopped.

Every shard depends on the seed, its own number, its size, the number of views of a moment, the bounds of the hidden
fraction, the fraction of crops without a hand and the generator's version alone.

``shard_00000_labels.npz`` holds the arrays of LABELS and, from version 3 on, of RIG_LABELS, of moments of several views
those of MOMENT_LABELS too: the views of a moment are adjacent, in order, and in one shard;
``shard_00000_pictures.npz`` JPEG bytes, masks, visibility and vertex colours (COLOURS). A shard is done when its images
file exists; both files are written atomically.
"""

import json
import logging
import multiprocessing
import os
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.arguments import whole
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import UNFINISHED, make_folder, read_arrays, write_arrays, write_files
from handviz.core.json_files import Within, read_json
from handviz.core.termination import follow_parent
from handviz.data.synthetic.arm import Truth
from handviz.data.synthetic.moments import render_moments
from handviz.data.synthetic.sample import Sample, render_samples
from handviz.hand_models.open_hand import load_open_hand

logger = logging.getLogger(__name__)
SHARD_SIZE = 256
MANIFEST = "manifest.json"
GENERATOR_VERSION = 3
MODEL_SPACE_VERSION = 2
"""The version whose hands all lie in the open hand's space, for its held-out crops."""
GeneratorVersion = Annotated[int, whole(MODEL_SPACE_VERSION, GENERATOR_VERSION)]
"""Option for a version that can be rendered."""
NO_HAND = 0.1
"""Fraction of crops without a hand, unless another is asked for."""
LABELS: dict[str, tuple[int, ...]] = {
    "pose": (45,),  # axis-angle, radians
    "shape": (10,),  # standard deviations
    "rotation": (3, 3),  # crop_from_wrist along the ray through the crop's centre
    "scale": (),  # weak perspective, crop half-sides per metre
    "translation": (2,),  # wrist in the crop, [-1, 1]
    "keypoints_crop": (21, 2),  # true perspective projection, [-1, 1]
    "camera_from_wrist": (3, 3),
    "wrist_camera_m": (3,),
    "camera_matrix": (3, 3),  # K, pixels
    "crop_from_image": (2, 3),
    "hidden_share": (),  # of the vertices visible of the hand alone, those that objects hide
}
"""Names of the arrays and the shape of one sample."""
RIG_LABELS: dict[str, tuple[int, ...]] = {
    "vertices": (778, 3),  # metres, canonical: not those of pose and shape, which no hand model reaches
    "is_hand": (),  # 0 where the crop shows none; its other labels mean nothing then
}
"""The same for what hands of the full rig need, from version 3 on."""
MOMENT_LABELS: dict[str, tuple[int, ...]] = {
    "moment": (),  # number of the moment in the folder
    "view": (),  # number of the camera in the moment
}
"""The same, as int32, of moments that several cameras see: ``camera_from_wrist`` of all is from one wrist frame."""
MAX_VIEWS = 16
COLOURS = (("vertex_lit", "lit"), ("vertex_even", "even"))
"""Arrays (N, V, 3) uint8 beside the images, and the field of VertexColours that each holds."""


@dataclass(frozen=True)
class Plan:
    """Parameters of a rendering: folder, seed, count and bounds."""

    directory: Path
    seed: int
    count: int
    hidden: tuple[float, float] | None = None
    """bounds of hidden_fraction: the lower one belongs to the range, the upper one only if it is 1"""
    no_hand: float = 0.0
    """fraction of crops without a hand"""
    version: int = GENERATOR_VERSION
    """of the generator: GENERATOR_VERSION or MODEL_SPACE_VERSION"""
    views: int = 1
    """cameras that see each moment; ``count`` is of their crops, and so a multiple of it"""

    def __post_init__(self) -> None:
        """Raise HandvizError for moments of several views with options that are for single crops."""
        if not 1 <= self.views <= MAX_VIEWS or self.count % self.views:
            raise HandvizError(
                f"{self.count} crops are no moments of {self.views} views: choose a multiple, of {MAX_VIEWS} views "
                "at most",
                ErrorCode.BAD_VALUE,
            )
        if self.views > 1 and (self.hidden or self.no_hand or self.version != GENERATOR_VERSION):
            raise HandvizError(
                "moments of several views have their own rule of what is hidden, always a hand, and the generator's "
                "latest version: leave out --hidden, --no-hand and --generator",
                ErrorCode.OPTION_CONFLICT,
            )

    @property
    def labels(self) -> dict[str, tuple[int, ...]]:
        """Arrays of a shard's labels and the shape of one sample."""
        single = LABELS if self.version == MODEL_SPACE_VERSION else LABELS | RIG_LABELS
        return single | MOMENT_LABELS if self.views > 1 else single

    @property
    def shard_size(self) -> int:
        """Samples of a whole shard."""
        return shard_size(self.views)

    @property
    def shard_count(self) -> int:
        return -(-self.count // self.shard_size)

    def size_of(self, shard: int) -> int:
        """Return the number of samples in a shard; the last one may be smaller."""
        return min(self.shard_size, self.count - shard * self.shard_size)

    def is_done(self, shard: int) -> bool:
        """Return whether the shard's files exist with the planned number of samples."""
        if not images_file(self.directory, shard).is_file():
            return False
        try:
            scales = read_arrays(labels_file(self.directory, shard), "it is rendered again", ("scale",))["scale"]
        except HandvizError as error:
            logger.warning("%s", error)
            return False
        return scales.shape == (self.size_of(shard),) and _has_colours(images_file(self.directory, shard))


def shard_size(views: int = 1) -> int:
    """Return the number of samples of a whole shard: as many moments as fit into SHARD_SIZE, one at least."""
    return max(1, SHARD_SIZE // views) * views


def _has_colours(path: Path) -> bool:
    """Return whether a shard's vertices have colours, which older versions did not write."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {f"{name}.npy" for name, _ in COLOURS} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        # Damaged: its reader raises the error.
        return True


def labels_file(directory: Path, shard: int) -> Path:
    """Return the path of a shard's labels."""
    return directory / f"shard_{shard:05d}_labels.npz"


def images_file(directory: Path, shard: int) -> Path:
    """Return the path of a shard's images."""
    return directory / f"shard_{shard:05d}_pictures.npz"


def encode(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Encode RGB (H, W, 3) as JPEG bytes."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.reshape(-1)


def render_shard(plan: Plan, shard: int) -> int:
    """Render one shard and return its number of samples."""
    rng = np.random.default_rng([plan.seed, shard])
    samples, jpegs = [], []
    for sample in _samples(rng, plan, shard):
        jpegs.append(encode(sample.image, int(rng.integers(55, 96))))
        samples.append(sample._replace(image=sample.image[:0], mask=np.packbits(sample.mask)))
    columns = {
        name: np.stack([sample.labels[name] for sample in samples]).astype(
            np.int32 if name in MOMENT_LABELS else np.float32
        )
        for name in plan.labels
    }
    write_arrays(labels_file(plan.directory, shard), columns)
    ends = np.cumsum([len(data) for data in jpegs])
    write_arrays(
        images_file(plan.directory, shard),
        {
            "jpeg": np.concatenate(jpegs),
            "jpeg_end": ends.astype(np.int64),
            "mask_bits": np.stack([sample.mask for sample in samples]),
            "visible": np.packbits(np.stack([sample.visible for sample in samples]), axis=1),
            "visible_alone": np.packbits(np.stack([sample.visible_alone for sample in samples]), axis=1),
            **{name: np.stack([getattr(sample.colours, field) for sample in samples]) for name, field in COLOURS},
        },
    )
    return len(samples)


def _samples(rng: np.random.Generator, plan: Plan, shard: int) -> Iterator[Sample]:
    """Yield the samples of a shard, those of moments with the numbers of moment and view."""
    count = plan.size_of(shard)
    if plan.views == 1:
        truth: Truth = "model" if plan.version == MODEL_SPACE_VERSION else "rig"
        return render_samples(rng, count, plan.hidden, truth=truth, no_hand=plan.no_hand)
    first = shard * plan.shard_size // plan.views
    moments = enumerate(render_moments(rng, count // plan.views, plan.views), first)
    return chain.from_iterable(_numbered(moment, samples) for moment, samples in moments)


def _numbered(moment: int, samples: list[Sample]) -> Iterator[Sample]:
    for view, sample in enumerate(samples):
        yield sample._replace(labels=sample.labels | {"moment": np.array(moment), "view": np.array(view)})


@dataclass(frozen=True)
class Manifest:
    """A folder's ``manifest.json``; files of older versions lack some fields."""

    generator_version: int | None = None
    seed: int | None = None
    count: Annotated[int, Within(ge=1)] | None = None
    shard_size: Annotated[int, Within(ge=1)] | None = None
    hidden: tuple[float, float] | None = None
    hand_model: str | None = None
    no_hand: float = 0.0
    views: Annotated[int, Within(ge=1, le=MAX_VIEWS)] = 1
    """cameras that see each moment; ``count`` is of crops. Left out where it is 1"""


def read_manifest(path: Path) -> Manifest:
    """Return the content of a folder's manifest; raises HandvizError if it is damaged."""
    return read_json(path, Manifest, "choose another folder")


def _check_manifest(plan: Plan) -> None:
    """Write the manifest, with the latest count; HandvizError if the folder holds another seed or generator."""
    path = plan.directory / MANIFEST
    hand_model = load_open_hand().fingerprint
    manifest = Manifest(
        plan.version, plan.seed, plan.count, plan.shard_size, plan.hidden, hand_model, plan.no_hand, plan.views
    )
    if path.is_file():
        found = read_manifest(path)
        for key in ("generator_version", "seed", "hidden", "hand_model", "no_hand", "views"):
            there, here = getattr(found, key), getattr(manifest, key)
            if there != here:
                raise HandvizError(
                    f"{plan.directory} holds samples of {key} {there}, not {here}: choose another folder",
                    ErrorCode.FOLDER_TAKEN,
                )
    elif plan.directory.is_file() or (plan.directory.exists() and _holds_others(plan.directory)):
        raise HandvizError(
            f"{plan.directory} holds something that synthesize did not make: choose another folder",
            ErrorCode.FOLDER_TAKEN,
        )
    make_folder(plan.directory)
    entries = asdict(manifest)
    if plan.views == 1:
        del entries["views"]
    write_files({path: (json.dumps(entries, indent=2) + "\n").encode()})


def _holds_others(directory: Path) -> bool:
    """Return whether a folder holds more than what a run leaves that is killed while it writes its first manifest."""
    names = (path.name for path in directory.iterdir())
    return not all(name.startswith(f"{MANIFEST}.") and name.endswith(UNFINISHED) for name in names)


def _render_task(task: tuple[Plan, int]) -> int:
    return render_shard(*task)


def render(plan: Plan, workers: int) -> Iterator[int]:
    """Render what is missing with ``workers`` processes; yields the samples of each shard as it is done."""
    _check_manifest(plan)
    open_shards = []
    for shard in range(plan.shard_count):
        if plan.is_done(shard):
            yield plan.size_of(shard)
        else:
            open_shards.append(shard)
    started = time.perf_counter()
    yield from _rendered([(plan, shard) for shard in open_shards], workers)
    made = sum(map(plan.size_of, open_shards))
    if made:
        speed = made / (time.perf_counter() - started)
        logger.info("%d hands, %.1f crops per second with %d processes", made, speed, workers)


def _rendered(tasks: list[tuple[Plan, int]], workers: int) -> Iterator[int]:
    if workers <= 1 or not tasks:
        yield from map(_render_task, tasks)
        return
    # One thread each: llvmpipe would otherwise take every core in every process.
    os.environ.setdefault("LP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with multiprocessing.get_context("spawn").Pool(workers, follow_parent) as pool:
        yield from pool.imap_unordered(_render_task, tasks)
