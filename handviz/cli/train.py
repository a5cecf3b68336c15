"""``handviz train``: train one variant on rendered hands."""

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import get_args

from handviz.core.records import VARIANTS
from handviz.data.datasets.images import BadImages
from handviz.hand_models.choice import add_hand_model_option, hand_model
from handviz.models.amvur.losses import LossConfig, weights_from
from handviz.models.amvur.model import ModelConfig
from handviz.models.backbones.registry import BACKBONES
from handviz.training.amvur import train
from handviz.training.augmentation import LandmarkNoise
from handviz.training.config import SUPERVISIONS, TrainConfig
from handviz.training.distributed import DEVICES

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the usual options; all others are in TrainConfig and ModelConfig."""
    default = TrainConfig((), Path())
    model = default.model
    parser.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="SOURCE",
        help="folders written by 'handviz synthesize', and datasets as NAME/SPLIT:FOLDER (docs/research/datasets.md)",
    )
    parser.add_argument("--run", type=Path, required=True, help="folder of the run; a started run is continued")
    parser.add_argument("--validation", metavar="SOURCE", help="another of these, watched while training")
    parser.add_argument("--model", dest="variant", choices=VARIANTS, default=model.variant, help="the model to use")
    parser.add_argument(
        "--backbone", choices=tuple(BACKBONES), default=model.backbone, help="network that turns a crop into features"
    )
    parser.add_argument(
        "--tokens",
        choices=("coarse", "full"),
        default=model.tokens,
        help="attention tokens: 195 coarse ones and a fitted lift, or one for each vertex",
    )
    parser.add_argument(
        "--conditioning",
        choices=("prior", "rest"),
        default=model.conditioning,
        help="what AMVUR starts from: the prior-net's mesh or the rest pose",
    )
    parser.add_argument(
        "--features",
        choices=("joints", "global"),
        default=model.features,
        help="what the heads get: a token for each joint, or the paper's global feature",
    )
    parser.add_argument("--width", type=int, default=model.width, help="width of attention and MLPs")
    parser.add_argument("--epochs", type=int, default=default.epochs, help="passes over the samples")
    parser.add_argument("--batch-size", type=int, default=default.batch_size, help="crops in a batch, for each process")
    parser.add_argument("--head-rate", type=float, default=default.head_rate, help="learning rate of the heads")
    parser.add_argument("--tail-rate", type=float, default=default.tail_rate, help="0 freezes the backbone")
    parser.add_argument("--end-to-end", action="store_true", help="train on the images, the whole backbone")
    parser.add_argument("--stem-rate", type=float, default=default.stem_rate, help="of the first blocks, end to end")
    parser.add_argument("--device", choices=DEVICES, default=default.device, help="auto: a GPU where there is one")
    parser.add_argument("--checkpoint-every", type=int, default=default.checkpoint_every, help="steps")
    parser.add_argument(
        "--supervision", choices=SUPERVISIONS, default=default.supervision, help="weak: 2D joints alone"
    )
    parser.add_argument("--camera-prior", type=Path, help="checkpoint whose camera net is the prior, weak training")
    parser.add_argument(
        "--weak", nargs="+", metavar="NAME=VALUE", default=[], help="weights of weak training, as camera=0 draws=1"
    )
    parser.add_argument("--weight-decay", type=float, default=default.weight_decay, help="0: AdamW is Adam")
    parser.add_argument("--backbone-from", type=Path, help="checkpoint whose backbone to start from")
    parser.add_argument("--backbone-weights", type=Path, metavar="FILE", help="torchvision's ImageNet weights instead")
    parser.add_argument("--start-from", type=Path, nargs="*", default=[], help="checkpoints to take weights from")
    parser.add_argument("--image-weight", type=float, default=default.loss.image, help="of the 2D keypoints' loss")
    parser.add_argument(
        "--bad-images",
        choices=get_args(BadImages),
        default=default.bad_images,
        help="what to do about an image that cannot be read; skip: log it and use the next one",
    )
    parser.add_argument("--limit", type=int, help="use only the first samples")
    parser.add_argument("--seed", type=int, default=default.seed, help="seed of all random numbers")
    add_hand_model_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train, or resume training."""
    model = ModelConfig(
        variant=arguments.variant,
        backbone=arguments.backbone,
        tokens=arguments.tokens,
        conditioning=arguments.conditioning,
        features=arguments.features,
        width=arguments.width,
    )
    if arguments.end_to_end and model.has_landmark_head:
        model = replace(model, landmark_stem=True)
    default = TrainConfig((), Path())
    config = TrainConfig(
        data=tuple(arguments.data),
        run=arguments.run,
        model=model,
        end_to_end=arguments.end_to_end,
        stem_rate=arguments.stem_rate,
        device=arguments.device,
        checkpoint_every=arguments.checkpoint_every,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        head_rate=arguments.head_rate,
        tail_rate=arguments.tail_rate,
        seed=arguments.seed,
        validation=arguments.validation,
        backbone_from=arguments.backbone_from,
        backbone_weights=arguments.backbone_weights,
        start_from=tuple(arguments.start_from),
        loss=LossConfig(image=arguments.image_weight, weak=weights_from(arguments.weak)),
        supervision=arguments.supervision,
        camera_prior=arguments.camera_prior,
        landmark_noise=LandmarkNoise(fraction=0.0) if arguments.supervision == "weak" else default.landmark_noise,
        weight_decay=arguments.weight_decay,
        limit=arguments.limit,
        bad_images=arguments.bad_images,
    )
    logger.info("checkpoint: %s", train(config, hand_model(arguments.hand_model)))
    return 0
