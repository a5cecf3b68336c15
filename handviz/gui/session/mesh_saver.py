"""Meshes of the hands as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from handviz.core.records import FrameResult, HandMesh
from handviz.rendering.options import ColourMode

MESH_FORMATS = {"GLB (*.glb)": ".glb", "OBJ with texture (*.obj)": ".obj", "PLY (*.ply)": ".ply"}
"""Filters of the file dialog and what they stand for."""


@dataclass(frozen=True, eq=False)
class MeshRequest:
    """Which hands to write, where and how."""

    asked: Path
    """What the person chose, with or without an ending."""
    suffix: str
    """For a choice without an ending."""
    result: FrameResult
    colour: ColourMode
    range_mm: tuple[float, float] | None
    """Ends of the heatmap."""

    def paths(self) -> list[Path]:
        """One per hand; only the very file that the person chose is written over."""
        has_suffix = self.asked.suffix.lower() in MESH_FORMATS.values()
        base = self.asked if has_suffix else self.asked.with_name(self.asked.name + self.suffix)
        taken: list[Path] = []
        for name in _stems(base.stem, self.result.hands):
            path, number = base.with_stem(name), 1
            while path in taken or self._would_overwrite(path):
                number += 1
                path = base.with_stem(f"{name}_{number}")
            taken.append(path)
        return taken

    def _would_overwrite(self, path: Path) -> bool:
        """Whether a file is there that the person did not choose, or one beside it that this mesh would bring along."""
        if path != self.asked and path.exists():
            return True
        # Here, so that the window is up before the formats' libraries are loaded.
        from handviz.io.mesh_io import companion_paths

        is_wrapped = path.suffix.lower() == ".obj" and self.colour == "texture"
        companions = companion_paths(path) if is_wrapped else ()
        is_ours = path.exists() and all(companion.exists() for companion in companions)
        return not is_ours and any(companion.exists() for companion in companions)


def _stems(stem: str, hands: Sequence[HandMesh]) -> list[str]:
    return [stem] if len(hands) == 1 else [f"{stem}_{hand.handedness}" for hand in hands]


def write_meshes(order: MeshRequest) -> str:
    """Write a file for each hand; returns the message that says where they are."""
    # Here, so that the window is up before the formats' libraries are loaded.
    from handviz.io.mesh_export import export_mesh

    paths = order.paths()
    for path, hand in zip(paths, order.result.hands, strict=True):
        export_mesh(path, hand, colour=order.colour, range_mm=order.range_mm, image=order.result.frame.image)
    return f"Saved {' and '.join(path.name for path in paths)} in {paths[0].parent}"
