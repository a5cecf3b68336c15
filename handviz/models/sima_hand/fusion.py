"""What joins features: views at image, joint and vertex level (eqs. 1 to 3), and the two branches (eq. 5).

Paper: Wang et al., SiMA-Hand (AAAI 2024). Fusions take all views of a hand and give each view, as the target, what the
others add to it; that is added to the view's own feature, so that a network without the fusion is one where it is 0.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

IMAGE_FUSIONS = ("shared", "concat", "none")
JOINT_FUSIONS = ("statistics", "concat", "none")
VERTEX_FUSIONS = ("attention", "printed", "pool", "concat")
ENHANCEMENTS = ("attention", "concat", "none")
LEAST_VARIANCE = 1e-6


def mixture(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Return three 1 x 1 convolutions, normalised; the last one starts at 0, so that fusions start as none."""
    last = nn.Conv2d(width, outputs, 1)
    nn.init.zeros_(last.weight)
    assert last.bias is not None
    nn.init.zeros_(last.bias)
    return nn.Sequential(
        nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), last,
    )  # fmt: skip


def target_first(features: Tensor) -> Tensor:
    """Return features (B, N, C, ...) of N views as (B, N, N C, ...): for each view all of them, its own first."""
    views = features.shape[1]
    order = [[view, *(other for other in range(views) if other != view)] for view in range(views)]
    return features[:, torch.tensor(order, device=features.device)].flatten(2, 3)


def own_and_mean(features: Tensor) -> Tensor:
    """Return features (B, N, C, ...) as (B, N, 2 C, ...): each view's own, and the mean of all."""
    return torch.cat([features, features.mean(dim=1, keepdim=True).expand_as(features)], dim=2)


def view_statistics(features: Tensor) -> Tensor:
    """Return maximum, mean and standard deviation over views of features (B, N, C, ...): (B, 3 C, ...)."""
    mean = features.mean(dim=1)
    variance = (features - mean[:, None]).square().mean(dim=1)
    return torch.cat([features.amax(dim=1), mean, torch.sqrt(variance + LEAST_VARIANCE)], dim=1)


class ImageFusion(nn.Module):
    """f_i (B, N, C, S, S) -> what is added to each view's own (eq. 1: g_i(Cat[f_i])).

    "concat": as printed, for a fixed number of views, the target's first; "shared": its first layer has one weight for
    all views but the target, so that their order and number are free.
    """

    def __init__(self, kind: str, channels: int, width: int, views: int) -> None:
        super().__init__()
        self.kind = kind
        self.mixture = mixture(channels * (views if kind == "concat" else 2), width, channels)

    def forward(self, features: Tensor) -> Tensor:
        joined = target_first(features) if self.kind == "concat" else own_and_mean(features)
        return self.mixture(joined.flatten(0, 1)).unflatten(0, features.shape[:2])


class JointFusion(nn.Module):
    """f_j (B, N, C, S, S) -> what is added to each view's own (eq. 2: g_j(Cat[Max, Avg, Std])), or of "concat"."""

    def __init__(self, kind: str, channels: int, width: int, views: int) -> None:
        super().__init__()
        self.kind = kind
        self.mixture = mixture(channels * (views if kind == "concat" else 3), width, channels)

    def forward(self, features: Tensor) -> Tensor:
        if self.kind == "concat":
            return self.mixture(target_first(features).flatten(0, 1)).unflatten(0, features.shape[:2])
        return self.mixture(view_statistics(features))[:, None].expand_as(features)


class VertexFusion(nn.Module):
    """f_v (B, N, T, C) -> that of the hand (B, T, C) (eq. 3), for every vertex over the views.

    "printed": W = Softmax(f f^T / sqrt(d)) f, and the sum over views of W_i times f_i, number by number; "attention":
    the mean of W over views; "pool": the mean of f; "concat": a linear layer of a fixed number of views.
    """

    def __init__(self, kind: str, channels: int, views: int) -> None:
        super().__init__()
        self.kind = kind
        self.linear = nn.Linear(views * channels, channels) if kind == "concat" else None

    def forward(self, features: Tensor) -> Tensor:
        if self.linear is not None:
            return self.linear(features.transpose(1, 2).flatten(2))
        if self.kind == "pool":
            return features.mean(dim=1)
        of_vertices = features.transpose(1, 2)
        scores = of_vertices @ of_vertices.transpose(2, 3) / math.sqrt(features.shape[-1])
        attended = functional.softmax(scores, dim=-1) @ of_vertices
        return (attended * of_vertices).sum(dim=2) if self.kind == "printed" else attended.mean(dim=2)


class Attention(nn.Module):
    """Multi-head attention of queries (B, Q, C) to tokens (B, T, C), added to the queries and normalised."""

    def __init__(self, width: int, inner: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, inner) for _ in range(3))
        self.out, self.norm, self.dropout = nn.Linear(inner, width), nn.LayerNorm(width), nn.Dropout(dropout)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(queries), self.key(tokens), self.value(tokens))
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        found = (functional.softmax(scores, dim=-1) @ value).transpose(1, 2).flatten(2)
        return self.norm(queries + self.dropout(self.out(found)))


class Enhancement(nn.Module):
    """f_j (B, J, S, S), f_o (B, C, S, S) -> enhanced f_o (B, S S, C) (eq. 5).

    "attention": each attends to itself, then f_j asks and f_o answers; "concat": a linear layer of both; "none": f_o.
    """

    def __init__(self, kind: str, joint: int, width: int, *, inner: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.kind = kind
        if kind == "attention":
            self.project = nn.Identity() if joint == width else nn.Linear(joint, width)
            self.of_joint, self.of_orientation, self.cross = (Attention(width, inner, heads, dropout) for _ in range(3))
        if kind == "concat":
            self.linear = nn.Linear(joint + width, width)

    def forward(self, joint: Tensor, orientation: Tensor) -> Tensor:
        asking, answering = (part.flatten(2).transpose(1, 2) for part in (joint, orientation))
        if self.kind == "none":
            return answering
        if self.kind == "concat":
            return self.linear(torch.cat([asking, answering], dim=2))
        asking = self.project(asking)
        asking, answering = self.of_joint(asking, asking), self.of_orientation(answering, answering)
        return self.cross(asking, answering)
