"""What of an inspection to write, and where to; light, for the window makes it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from handviz.inspection.inspection_rows import InspectionOrder, PictureRow

ExportPart = Literal["json", "csv", "meshes", "report"]
PARTS: tuple[ExportPart, ...] = get_args(ExportPart)
JSON_NAME, CSV_NAME, REPORT_NAME, MESH_FOLDER = "hands.json", "hands.csv", "report.html", "meshes"
MeshSuffix = Literal[".ply", ".obj", ".glb"]


@dataclass(frozen=True)
class ExportOrder:
    """What to write, and where to."""

    out: Path
    inspection: InspectionOrder
    kept: Path
    """The file with the results."""
    pictures: tuple[PictureRow, ...]
    """Those to write, each with the hands to write, in the report's order."""
    parts: frozenset[ExportPart] = frozenset(PARTS)
    mesh_suffix: MeshSuffix = ".ply"
    colour: Literal["deviation", "plain"] = "deviation"
    range_mm: tuple[float, float] = (0.0, 10.0)
    """Ends of the heatmap."""
