"""Attention in groups, once for all networks."""

from torch import Tensor
from torch.nn import functional


def attention(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V (eqs. 9, 10) in ``heads`` groups: query (B, T, W), key and value (B, S, W)."""
    split = [part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (query, key, value)]
    return functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
