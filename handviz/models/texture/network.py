"""The texture net: colours of all vertices from the image at each projected vertex and from the rest of the hand
(paper, section 3.4), in our form; the paper's is in ``paper_form.py``.

As in the paper, every vertex samples a shallow map of the backbone (equation 11), is joined with a global feature and
its position on the rest pose, and attends to the other vertices (equation 10). Ours: it also samples the image itself
and two deeper maps; it predicts whether the sampled pixel *is* the vertex; attention copies colours of other vertices,
weighted by a learnt score, so that skin of any tone, or a glove, is continued to unseen regions; and beside the colour
in the image's light it predicts one in uniform light. The maps are those of MediaPipe's first blocks, pre-trained on
real hands; a small network computes the global feature from them, since the whole backbone would cost more than all the
rest.
"""

import itertools
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from handviz.core.arguments import Option
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.units import DECIMETRES_PER_METRE
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.network import TokenLinear
from handviz.models.attention import attention
from handviz.models.backbones.mediapipe_hand import InvertedBottleneck, load_mediapipe_hand
from handviz.models.backbones.registry import BACKBONES

Form = Literal["ours", "paper"]
FORMS: tuple[Form, ...] = get_args(Form)
PAPER_WIDTH, PAPER_BACKBONE = 512, "resnet50"
"""Width of AMVUR's attention in the supplement's Table 1, which states none for the texture's; the backbone of it."""

STEM_CHANNELS = (24, 24, 40)
"""Channels of MediaPipe's maps at 112, 56 and 28 pixels."""
STEM_ENDS = (0, 3, 5)
"""Numbers of its blocks after which these maps stand."""
CONTEXT_CHANNELS = (64, 96)
SAMPLED_CHANNELS = (24, 12, 16, 16)
"""Channels of each map that vertices sample: all of the shallow one, as in the paper. Sampling is slow on a CPU."""
RGB = 3
POOLS = (1, 2, 4)
"""Pixels a side that a sample of the image averages: vertices lie about four pixels apart, and one pixel is noisy."""
MIN_FRACTION = 1e-3
DARKEST, MAX_SHADE = 0.02, 3.0


@dataclass(frozen=True)
class TextureConfig:
    """The configuration that a checkpoint is rebuilt from."""

    width: int = 96
    """Of the tokens; in the paper's form of queries, keys and the MLP's hidden layer."""
    heads: int = 4
    layers: int = 2
    """Of self-attention: in our form among the coarse vertices, in the paper's one among all."""
    form: Annotated[Form, Option(choices=FORMS)] = "ours"
    """"paper": equations 10 to 12 as printed, one colour a vertex, learnt from the image alone; "ours": more inputs,
    copied colours, a colour in uniform light and visibility."""
    backbone: Annotated[str | None, Option(choices=tuple(BACKBONES))] = None
    """Backbone of the paper's form, resnet50 without it; ours has MediaPipe's first blocks."""

    @classmethod
    def paper(cls, backbone: str | None = None) -> "TextureConfig":
        """Return the paper's configuration, on its own backbone unless another is named."""
        return cls(PAPER_WIDTH, heads=1, layers=1, form="paper", backbone=backbone or PAPER_BACKBONE)

    @classmethod
    def from_options(cls, **values: Any) -> "TextureConfig":
        """Return the config of options: with the paper's form go its sizes."""
        return cls.paper(values["backbone"]) if values["form"] == "paper" else cls(**values)

    def __post_init__(self) -> None:
        for name, value, allowed in (("form", self.form, FORMS), ("backbone", self.backbone, (None, *BACKBONES))):
            if value not in allowed:
                raise HandvizError(
                    f"the texture net's {name} is {value!r}: choose one of {', '.join(filter(None, allowed))}",
                    ErrorCode.UNKNOWN_NAME,
                )
        if (self.form == "paper") != (self.backbone is not None):
            raise HandvizError(
                "the texture net's paper form has a backbone, and ours none of its own: "
                "give --backbone together with --form paper",
                ErrorCode.OPTION_CONFLICT,
            )
        if self.form == "paper" and (self.heads, self.layers) != (1, 1):
            raise HandvizError(
                f"the texture net's paper form has one layer of one head, not {self.layers} of {self.heads}: "
                "set both to 1",
                ErrorCode.OPTION_CONFLICT,
            )


class TextureOutput(NamedTuple):
    """The output for a batch of hands; colours are sRGB in about [0, 1]."""

    rgb: Tensor
    """(B, V, 3) in the image's light"""
    even: Tensor
    """(B, V, 3) in uniform light"""
    seen_logit: Tensor
    """(B, V) logit of whether the image shows the vertex at its projection"""


class TextureMaps(nn.Module):
    """Crops (B, 3, 224, 224) -> maps to sample, from fine to coarse, and one vector (B, 96) of the whole."""

    feature_size = CONTEXT_CHANNELS[1]

    def __init__(self) -> None:
        super().__init__()
        backbone = load_mediapipe_hand()
        self.first = backbone.first.requires_grad_(False)
        self.blocks = nn.ModuleList(
            backbone.stem_blocks[start:end].requires_grad_(False) for start, end in itertools.pairwise(STEM_ENDS)
        )
        self.context = InvertedBottleneck(STEM_CHANNELS[-1], 160, CONTEXT_CHANNELS[0], kernel=5, stride=2)
        channels = (*STEM_CHANNELS[1:], CONTEXT_CHANNELS[0])
        self.narrow = nn.ModuleList(
            nn.Conv2d(wide, narrow, 1) for wide, narrow in zip(channels, SAMPLED_CHANNELS[1:], strict=True)
        )
        self.whole = InvertedBottleneck(CONTEXT_CHANNELS[0], 192, CONTEXT_CHANNELS[1], kernel=5, stride=2)

    def stem(self, image: Tensor) -> list[Tensor]:
        """Return MediaPipe's maps, which do not train."""
        found = [functional.relu6(self.first(image))]
        for blocks in self.blocks:
            found.append(blocks(found[-1]))
        return found

    def forward(self, stem_maps: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        shallow, *deeper = stem_maps
        context = self.context(deeper[-1])
        narrow = [narrow(part) for narrow, part in zip(self.narrow, (*deeper, context), strict=True)]
        return [shallow, *narrow], functional.relu6(self.whole(context)).mean((2, 3))


def sampled(maps: Tensor, at: Tensor) -> Tensor:
    """Sample maps (B, C, H, W) at points (B, V, 2) in crop half-sides: (B, V, C), bilinear, the border's value beyond
    it."""
    found = functional.grid_sample(maps, at[:, :, None], align_corners=False, padding_mode="border")
    return found.squeeze(3).transpose(1, 2)


class TokenLayer(nn.Module):
    """Self-attention and an MLP, both residual: (B, T, W) -> (B, T, W)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.after = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.query_key_value(self.before_attention(tokens)).chunk(3, dim=2)
        tokens = tokens + self.after(attention(query, key, value, self.heads))
        return tokens + self.mlp(self.before_mlp(tokens))


class Copying(nn.Module):
    """Cross-attention of every vertex to colours and features of the coarse ones; each of these has a learnt score, to
    be low for those that are not visible."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_query, self.before_key = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.after = nn.Linear(width, width)
        self.seen = nn.Linear(width, 1)

    def forward(self, tokens: Tensor, coarse: Tensor, colours: Tensor) -> tuple[Tensor, Tensor]:
        """Return updated tokens (B, V, W) and a colour of each head (B, V, heads, 3), from coarse tokens (B, T, W) and
        their colours (B, T, 3)."""
        known = self.before_key(coarse)
        worth = self.seen(known).squeeze(2)
        key, value = self.key_value(known).chunk(2, dim=2)
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(self.before_query(tokens)), key, value)
        )
        scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
        heard = torch.log(torch.sigmoid(worth) + MIN_FRACTION)[:, None, None]
        fractions = (scores + heard).softmax(-1)
        inputs = (fractions @ value).transpose(1, 2).flatten(2)
        copied = (fractions @ colours[:, None]).transpose(1, 2)
        return tokens + self.after(inputs), copied


class TextureNet(nn.Module):
    """Crops, vertices in them and which of these the mesh does not occlude -> colours of all vertices."""

    faces: Tensor
    faces_of_vertex: Tensor
    rest: Tensor
    coarse_ids: Tensor

    def __init__(self, config: TextureConfig, template: HandTemplate) -> None:
        super().__init__()
        width = config.width
        self.register_buffer("faces", torch.tensor(template.faces).long(), persistent=False)
        self.register_buffer("faces_of_vertex", _faces_of_vertex(template), persistent=False)
        rest = torch.tensor(template.vertices_m, dtype=torch.float32) * DECIMETRES_PER_METRE
        self.register_buffer("rest", rest[None], persistent=False)
        self.register_buffer("coarse_ids", torch.tensor(template.coarse_ids).long(), persistent=False)
        self.maps = TextureMaps()
        per_vertex = sum(SAMPLED_CHANNELS) + 2 * RGB + 3 + 4
        self.token = TokenLinear(TextureMaps.feature_size, per_vertex, width)
        self.think = nn.Sequential(nn.GELU(), nn.Linear(width, width))
        self.layers = nn.ModuleList(TokenLayer(width, config.heads) for _ in range(config.layers))
        self.copying = Copying(width, config.heads)
        self.output = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, 2 + len(POOLS) + config.heads + 4 * RGB),
        )
        last = self.output[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)
        self.heads = config.heads

    def forward(self, image: Tensor, points: Tensor, is_open: Tensor) -> TextureOutput:
        """Run on an image (B, 3, 224, 224) in [0, 1], points (B, V, 3) in crop half-sides (x right, y down, z away) and
        ``is_open`` (B, V): 1 where no other part of the mesh occludes a vertex."""
        return self.from_stem(image, self.maps.stem(image), points, is_open)

    def from_stem(self, image: Tensor, stem_maps: list[Tensor], points: Tensor, is_open: Tensor) -> TextureOutput:
        """Run with MediaPipe's maps computed before."""
        maps, feature = self.maps(stem_maps)
        at = points[..., :2]
        pools = [image if size == 1 else functional.avg_pool2d(image, size) for size in POOLS]
        own = torch.stack([sampled(pool, at) for pool in pools], dim=2)
        around = own[:, :, -1]
        geometry = self._geometry(points, is_open)
        inputs = [
            own[:, :, 0],
            around,
            *(sampled(part, at) for part in maps),
            geometry,
            self.rest.expand(points.shape[0], -1, -1),
        ]
        tokens = self.think(self.token(feature, torch.cat(inputs, dim=2)))
        coarse = tokens[:, self.coarse_ids]
        for layer in self.layers:
            coarse = layer(coarse)
        tokens, copied = self.copying(tokens, coarse, around[:, self.coarse_ids])
        return self._colours(self.output(tokens), own, copied)

    def _colours(self, numbers: Tensor, own: Tensor, copied: Tensor) -> TextureOutput:
        """Return colours from the last layer's numbers of every vertex (B, V, N), the image there in each of ``POOLS``,
        and colours copied from elsewhere."""
        seen_logit, gate, sharpness, mixing, shifts = numbers.split((1, 1, len(POOLS), self.heads, 4 * RGB), dim=2)
        of_own, of_copied, shade, of_uniform = shifts.chunk(4, dim=2)
        shown = (sharpness.softmax(-1)[..., None] * own).sum(2) + of_own
        inferred = (mixing.softmax(-1)[..., None] * copied).sum(2) + of_copied
        fraction = torch.sigmoid(gate)
        rgb = fraction * shown + (1 - fraction) * inferred
        # Light multiplies; added is what multiplication cannot restore in deep shadow or white.
        even = rgb.clamp(DARKEST, 1.0) * torch.exp(shade.clamp(-MAX_SHADE, MAX_SHADE)) + of_uniform
        return TextureOutput(rgb, even, seen_logit.squeeze(2))

    def _geometry(self, points: Tensor, is_open: Tensor) -> Tensor:
        """Return (B, V, 4): cosine to the eye, whether a vertex is not occluded, whether it lies in the crop, its
        depth."""
        inside = (points[..., :2].abs() <= 1).all(-1)
        return torch.stack([self._facing(points), is_open, inside.to(points.dtype), points[..., 2]], dim=2)

    def _facing(self, points: Tensor) -> Tensor:
        """Return the cosine (B, V) between the outward normal and the line to the eye."""
        first, second, third = points[:, self.faces].unbind(2)
        normals = torch.linalg.cross(second - first, third - first)
        # A zero normal, for vertices with fewer faces than the most.
        normals = functional.pad(normals, (0, 0, 0, 1))
        summed = normals[:, self.faces_of_vertex].sum(2)
        return -summed[..., 2] / summed.square().sum(-1).clamp(min=1e-20).sqrt()


def _faces_of_vertex(template: HandTemplate) -> Tensor:
    """Return the numbers (V, K) of the triangles around every vertex; filled up with the number of triangles."""
    around: list[list[int]] = [[] for _ in range(template.vertex_count)]
    for number, face in enumerate(template.faces):
        for vertex in face:
            around[vertex].append(number)
    most = max(map(len, around))
    return torch.tensor([row + [len(template.faces)] * (most - len(row)) for row in around])
