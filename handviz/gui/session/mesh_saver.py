"""Meshes of the hands as files, written beside the running stream."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PyQt6.QtCore import QThread, pyqtSignal

from handviz.core.errors import HandvizError
from handviz.core.records import FrameResult, HandMesh
from handviz.rendering.options import ColourMode

MESH_FORMATS = {"GLB (*.glb)": ".glb", "OBJ with texture (*.obj)": ".obj", "PLY (*.ply)": ".ply"}
"""Filters of the file dialog and what they stand for."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class MeshOrder:
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


class MeshSaver(QThread):
    """Writes one order at a time; ``said`` and ``failed`` tell how it went."""

    said = pyqtSignal(str)
    failed = pyqtSignal(str)

    def __init__(self) -> None:
        super().__init__()
        self._order: MeshOrder | None = None

    def save(self, order: MeshOrder) -> None:
        """Begin; while the last order is being written there is only a sentence."""
        if self.isRunning():
            self.said.emit("The last meshes are still being written.")
            return
        self.said.emit("Writing the meshes …")
        self._order = order
        self.start()

    def run(self) -> None:
        """Write every hand."""
        assert self._order is not None
        try:
            self.said.emit(_written(self._order))
        except HandvizError as error:
            self.failed.emit(str(error))
        # The thread's outermost place: whatever a disk does, the person hears of it.
        except Exception as error:
            logger.exception("meshes cannot be saved")
            self.failed.emit(f"The meshes could not be saved ({error}); the log says where.")

    def stop(self) -> None:
        """Wait for the files to be complete."""
        self.wait()


def _written(order: MeshOrder) -> str:
    """Write the files; returns the sentence that says where they are."""
    # Here, so that the window is up before the formats' libraries are loaded.
    from handviz.io.mesh_export import export_mesh

    paths = order.paths()
    for path, hand in zip(paths, order.result.hands, strict=True):
        export_mesh(path, hand, colour=order.colour, range_mm=order.range_mm, picture=order.result.frame.image)
    return f"Saved {' and '.join(path.name for path in paths)} in {paths[0].parent}"
