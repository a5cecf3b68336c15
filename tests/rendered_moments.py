"""A few rendered moments, for tests of what makes and reads them."""

from pathlib import Path

import pytest

MOMENTS, VIEWS, SEED = 6, 4, 7
SHARD_SIZE = 16


def render_some(folder: Path) -> None:
    """Render the moments into ``folder``, in two shards of four and two."""
    from handviz.data.synthetic import generator

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator, "SHARD_SIZE", SHARD_SIZE)
        assert list(generator.render(generator.Plan(folder, SEED, MOMENTS * VIEWS, views=VIEWS), workers=1)) == [16, 8]
