"""The texture net: the image at every projected vertex, and what the rest of the hand tells about those that it
does not show -> colours (paper, section 3.4).

As in the paper, every vertex samples a shallow map of the backbone (equation 11), is joined with a global feature and
its place on the rest pose, and looks at the other vertices through self-attention (equation 10). Ours: it also samples
the image itself and two deeper maps; it says whether what it sampled *is* the vertex; attention copies colours of
other vertices, by a learnt score of how far each is worth hearing, so that skin of any tone, or a glove, is continued
to where it is not seen; and beside the colour in the image's light there is one in even light. The maps are those of
MediaPipe's first blocks, which have seen real hands; the global feature grows on top of them, for the whole backbone
would cost more than all the rest.
"""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from handviz.core.units import DECIMETRES_PER_METRE
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.network import TokenLinear, attention
from handviz.models.backbones.mediapipe_hand import InvertedBottleneck, load_mediapipe_hand

STEM_CHANNELS = (24, 24, 40)
"""Of MediaPipe's maps at 112, 56 and 28 pixels."""
STEM_ENDS = (0, 3, 5)
"""After how many of its blocks they stand."""
CONTEXT_CHANNELS = (64, 96)
SAMPLED_CHANNELS = (24, 12, 16, 16)
"""Of each map, what vertices sample; all of the shallow one, as in the paper. Sampling is dear on a processor."""
RGB = 3
POOLS = (1, 2, 4)
"""Pixels a side that a sample of the image averages: vertices lie about four pixels apart, and a point alone would
tell of noise."""
MIN_FRACTION = 1e-3
DARKEST, MAX_SHADE = 0.02, 3.0


@dataclass(frozen=True)
class TextureConfig:
    """What a checkpoint needs to be built again."""

    width: int = 96
    heads: int = 4
    layers: int = 2
    """Of self-attention among the coarse vertices."""


class TextureOutput(NamedTuple):
    """Of a batch of hands; colours are sRGB in about [0, 1]."""

    rgb: Tensor
    """(B, V, 3) in the image's light"""
    even: Tensor
    """(B, V, 3) in even light"""
    seen_logit: Tensor
    """(B, V) whether the image shows the vertex where it is projected to"""


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
        """MediaPipe's maps, which do not train."""
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
    """Maps (B, C, H, W) at points (B, V, 2) in crop half-sides -> (B, V, C), bilinear; the border's beyond it."""
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
    """Every vertex asks the coarse ones for their colours and for what they know; each has a learnt score of how far it
    is worth hearing, which shall be low for those that are not seen."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_query, self.before_key = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.after = nn.Linear(width, width)
        self.seen = nn.Linear(width, 1)

    def forward(self, tokens: Tensor, coarse: Tensor, colours: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, V, W), coarse tokens (B, T, W) and their colours (B, T, 3) -> tokens that know more, and a colour
        of each head (B, V, heads, 3)."""
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
        told = (fractions @ value).transpose(1, 2).flatten(2)
        copied = (fractions @ colours[:, None]).transpose(1, 2)
        return tokens + self.after(told), copied


class TextureNet(nn.Module):
    """Crops, vertices in them and which of these the mesh itself leaves open -> colours of all vertices."""

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
        """Image (B, 3, 224, 224) in [0, 1], points (B, V, 3) in crop half-sides (x right, y down, z away), open (B, V)
        1 where no other part of the mesh stands before a vertex."""
        return self.from_stem(image, self.maps.stem(image), points, is_open)

    def from_stem(self, image: Tensor, stem_maps: list[Tensor], points: Tensor, is_open: Tensor) -> TextureOutput:
        """The same where MediaPipe's maps are known."""
        maps, feature = self.maps(stem_maps)
        at = points[..., :2]
        pools = [image if size == 1 else functional.avg_pool2d(image, size) for size in POOLS]
        own = torch.stack([sampled(pool, at) for pool in pools], dim=2)
        around = own[:, :, -1]
        geometry = self._geometry(points, is_open)
        told = [
            own[:, :, 0],
            around,
            *(sampled(part, at) for part in maps),
            geometry,
            self.rest.expand(points.shape[0], -1, -1),
        ]
        tokens = self.think(self.token(feature, torch.cat(told, dim=2)))
        coarse = tokens[:, self.coarse_ids]
        for layer in self.layers:
            coarse = layer(coarse)
        tokens, copied = self.copying(tokens, coarse, around[:, self.coarse_ids])
        return self._colours(self.output(tokens), own, copied)

    def _colours(self, numbers: Tensor, own: Tensor, copied: Tensor) -> TextureOutput:
        """What the last layer says of every vertex (B, V, N), the image there in each of ``POOLS``, and colours from
        elsewhere."""
        seen_logit, gate, sharpness, mixing, shifts = numbers.split((1, 1, len(POOLS), self.heads, 4 * RGB), dim=2)
        of_own, of_copied, shade, of_uniform = shifts.chunk(4, dim=2)
        shown = (sharpness.softmax(-1)[..., None] * own).sum(2) + of_own
        inferred = (mixing.softmax(-1)[..., None] * copied).sum(2) + of_copied
        fraction = torch.sigmoid(gate)
        rgb = fraction * shown + (1 - fraction) * inferred
        # Light multiplies; what deep shadow or white has swallowed cannot be multiplied back.
        even = rgb.clamp(DARKEST, 1.0) * torch.exp(shade.clamp(-MAX_SHADE, MAX_SHADE)) + of_uniform
        return TextureOutput(rgb, even, seen_logit.squeeze(2))

    def _geometry(self, points: Tensor, is_open: Tensor) -> Tensor:
        """(B, V, 4) how much a vertex faces the eye, whether it is open, whether it lies in the crop, its depth."""
        inside = (points[..., :2].abs() <= 1).all(-1)
        return torch.stack([self._facing(points), is_open, inside.to(points.dtype), points[..., 2]], dim=2)

    def _facing(self, points: Tensor) -> Tensor:
        """(B, V) cosine between the outward normal and the line to the eye."""
        first, second, third = points[:, self.faces].unbind(2)
        normals = torch.linalg.cross(second - first, third - first)
        # A face that no vertex has, for the places that vertices with fewer faces leave empty.
        normals = functional.pad(normals, (0, 0, 0, 1))
        summed = normals[:, self.faces_of_vertex].sum(2)
        return -summed[..., 2] / summed.square().sum(-1).clamp(min=1e-20).sqrt()


def _faces_of_vertex(template: HandTemplate) -> Tensor:
    """(V, K) numbers of the triangles around every vertex; the number of triangles where there are fewer."""
    around: list[list[int]] = [[] for _ in range(template.vertex_count)]
    for number, face in enumerate(template.faces):
        for vertex in face:
            around[vertex].append(number)
    most = max(map(len, around))
    return torch.tensor([row + [len(template.faces)] * (most - len(row)) for row in around])
