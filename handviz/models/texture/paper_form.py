"""The texture net in the paper's form (section 3.4, supplement's Table 1): equations 11 and 10, then an MLP to colours.

Every vertex takes the backbone's shallow map at its projection and the global feature F (equation 11), its position on
the rest pose, and attends to all vertices (equation 10 with its residual connection). What ours changes:
docs/research/texture.md.
"""

import torch
from torch import Tensor, nn

from handviz.core.units import DECIMETRES_PER_METRE
from handviz.hand_models.template import HandTemplate
from handviz.models.attention import attention
from handviz.models.backbones.registry import BackboneFeatures, make_backbone
from handviz.models.texture.network import RGB, TextureConfig, TextureNet, TextureOutput, sampled

MID_GREY = 0.5
CERTAIN = 16.0
"""Logit of a visibility that is known from the mesh."""


class PaperTextureNet(nn.Module):
    """Crops, vertices in them and which of these the mesh does not occlude -> one colour a vertex.

    With ResNet-50 a vertex has 64 numbers of the shallow map and 2048 of F (2112), and with its rest position 2115.
    """

    rest: Tensor

    def __init__(self, config: TextureConfig, template: HandTemplate) -> None:
        super().__init__()
        assert config.backbone is not None
        rest = torch.tensor(template.vertices_m, dtype=torch.float32) * DECIMETRES_PER_METRE
        self.register_buffer("rest", rest[None], persistent=False)
        self.backbone = make_backbone(config.backbone)
        size = self.backbone.shallow_channels + self.backbone.feature_size + rest.shape[1]
        self.query_key = nn.Linear(size, 2 * config.width, bias=False)
        # As wide as a token, so that equation 10's residual connection is a sum.
        self.value = nn.Linear(size, size, bias=False)
        self.hidden, self.colour = nn.Linear(size, config.width), nn.Linear(config.width, RGB)
        nn.init.constant_(self.colour.bias, MID_GREY)

    def forward(self, image: Tensor, points: Tensor, is_open: Tensor) -> TextureOutput:
        """Run on an image (B, 3, 224, 224) in [0, 1], points (B, V, 3) in crop half-sides (x right, y down, z away) and
        ``is_open`` (B, V): 1 where no other part of the mesh occludes a vertex.

        The colour is that in the image's light and stands for that in uniform light too, of which the paper has none.
        Visibility is that of the mesh, the paper's occlusion mask.
        """
        rgb = self.colours(self.tokens(self.vertex_features(self.backbone(image), points)))
        return TextureOutput(rgb, rgb, (2 * is_open - 1) * CERTAIN)

    def vertex_features(self, features: BackboneFeatures, points: Tensor) -> Tensor:
        """Return equation 11, reverse interpolation: [F_map at the projected vertex; F] (B, V, C + D)."""
        own = sampled(features.shallow_map, points[..., :2])
        return torch.cat([own, features.global_feature[:, None].expand(-1, own.shape[1], -1)], dim=2)

    def tokens(self, vertex_features: Tensor) -> Tensor:
        """Return features with their positional encoding, the rest pose in decimetres: (B, V, C + D + 3)."""
        return torch.cat([vertex_features, self.rest.expand(vertex_features.shape[0], -1, -1)], dim=2)

    def attended(self, tokens: Tensor) -> Tensor:
        """Return equation 10 and its residual connection: tokens (B, V, C + D + 3) of the same shape."""
        query, key = self.query_key(tokens).chunk(2, dim=2)
        return tokens + attention(query, key, self.value(tokens), heads=1)

    def colours(self, tokens: Tensor) -> Tensor:
        """Return the vertices' colours (B, V, 3) of tokens (B, V, C + D + 3)."""
        return self.colour(nn.functional.gelu(self.hidden(self.attended(tokens))))


def build_texture_net(config: TextureConfig, template: HandTemplate) -> TextureNet | PaperTextureNet:
    """Build a texture net of either form, freshly initialised (mediapipe_hand: with MediaPipe's weights)."""
    return (PaperTextureNet if config.form == "paper" else TextureNet)(config, template)
