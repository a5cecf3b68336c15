"""Write the meshes of the hands as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from handviz.core.records import FrameResult, HandMesh
from handviz.rendering.colormap import ColourMap
from handviz.rendering.options import ColourMode

MESH_FORMATS = {"GLB (*.glb)": ".glb", "OBJ with texture (*.obj)": ".obj", "PLY (*.ply)": ".ply"}
"""Filters of the file dialog and their file name extensions"""


@dataclass(frozen=True, eq=False)
class MeshRequest:
    """Hands to write, where and how."""

    asked: Path
    """the chosen path, with or without an extension"""
    suffix: str
    """for a path without an extension"""
    result: FrameResult
    colour: ColourMode
    range_mm: tuple[float, float] | None
    """ends of the colour scale"""
    colour_map: ColourMap = "viridis"

    def paths(self) -> list[Path]:
        """Return one path per hand; only the chosen file itself may be overwritten."""
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
        """Return whether ``path``, or a file that belongs to its mesh, exists and was not chosen."""
        if path != self.asked and path.exists():
            return True
        # Imported late: loads the formats' libraries.
        from handviz.io.mesh_io import companion_paths

        is_wrapped = path.suffix.lower() == ".obj" and self.colour == "texture"
        companions = companion_paths(path) if is_wrapped else ()
        is_ours = path.exists() and all(companion.exists() for companion in companions)
        return not is_ours and any(companion.exists() for companion in companions)


def _stems(stem: str, hands: Sequence[HandMesh]) -> list[str]:
    return [stem] if len(hands) == 1 else [f"{stem}_{hand.handedness}" for hand in hands]


def write_meshes(request: MeshRequest) -> tuple[str, Path]:
    """Write a file for each hand; return a message with their paths, and their folder."""
    # Imported late: loads the formats' libraries.
    from handviz.io.mesh_export import export_mesh

    paths = request.paths()
    for path, hand in zip(paths, request.result.hands, strict=True):
        export_mesh(
            path,
            hand,
            colour=request.colour,
            range_mm=request.range_mm,
            colour_map=request.colour_map,
            image=request.result.frame.image,
        )
    return f"Saved {' and '.join(path.name for path in paths)} in {paths[0].parent}", paths[0].parent
