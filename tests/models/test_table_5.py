"""The rows of the paper's Table 5, built as their recipes say: which of the parts of AMVUR each has."""

from dataclasses import replace

import pytest
import torch

from handviz.evaluation.recipes import load_recipe
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.model import ModelConfig, VertexNet, build_model
from handviz.models.amvur.network import Amvur, DenseVertices, VertexAttention, index_waves

ROWS: dict[str, tuple[type[VertexNet], bool, bool]] = {
    "ho3d_v2_dense": (DenseVertices, False, False),
    "ho3d_v2_self": (VertexAttention, False, False),
    "ho3d_v2_cross": (Amvur, True, False),
    "ho3d_v2_final": (Amvur, True, True),
}
"""Its network, whether vertices attend to joints, whether tokens carry their place on the mesh"""


def vertex_net(model: ModelConfig, template: HandTemplate) -> VertexNet:
    """Build the network of a row, narrow, on a small backbone."""
    small = replace(model, backbone="mediapipe_hand", width=16, regressor_width=16)
    net = build_model(small, template).heads.amvur
    assert net is not None
    return net


@pytest.mark.parametrize("name", ROWS)
def test_a_row_has_its_parts(name: str, template: HandTemplate) -> None:
    kind, attends_to_joints, has_positions = ROWS[name]
    net = vertex_net(load_recipe(name).model, template)
    assert type(net) is kind
    assert any(part.startswith("cross_") for part, _ in net.named_parameters()) == attends_to_joints
    if isinstance(net, VertexAttention):
        assert net.rest_tokens.shape[1] == template.vertex_count == 778
        rest_cm = 100 * torch.from_numpy(template.vertices_m.copy())[None]
        expected = rest_cm if has_positions else index_waves(rest_cm)
        torch.testing.assert_close(net.rest_tokens, expected)
        assert not net.on_base
