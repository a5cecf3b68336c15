"""Attention between tokens, and a layer of tokens that attend to each other and to the positions of a map."""

from torch import Tensor, nn
from torch.nn import functional


def attention(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Return softmax(Q K^T / sqrt(d)) V (eqs. 9, 10) in ``heads`` groups: query (B, T, W), key and value (B, S, W)."""
    split = [part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (query, key, value)]
    return functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)


class JointLayer(nn.Module):
    """Tokens (B, T, W): self-attention, cross-attention to the maps' positions (B, P, W), MLP; all residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_self, self.before_cross, self.before_mlp = (nn.LayerNorm(width) for _ in range(3))
        self.before_places = nn.LayerNorm(width)
        self.self_query_key_value = nn.Linear(width, 3 * width)
        self.cross_query = nn.Linear(width, width)
        self.cross_key_value = nn.Linear(width, 2 * width)
        self.after_self, self.after_cross = nn.Linear(width, width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        query, key, value = self.self_query_key_value(self.before_self(tokens)).chunk(3, dim=2)
        tokens = tokens + self.after_self(attention(query, key, value, self.heads))
        key, value = self.cross_key_value(self.before_places(positions)).chunk(2, dim=2)
        query = self.cross_query(self.before_cross(tokens))
        tokens = tokens + self.after_cross(attention(query, key, value, self.heads))
        return tokens + self.mlp(self.before_mlp(tokens))
