"""What is made of pictures: by which network, under which camera, with which meshes; in one process or in many."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from handviz.core.errors import HandvizError
from handviz.core.lens import ASSUMED_LENS, UNMEASURED, HandSize, Lens, lens_of_intrinsics
from handviz.core.paths import MODELS
from handviz.core.records import Frame, FrameResult, HandMesh, Intrinsics, SideChoice, VariantName
from handviz.io.hands_json import picture_entry
from handviz.io.mesh_export import ExportColour, MeshVertices, export_mesh
from handviz.pipeline.pipeline import Pipeline, PipelineSettings

MeshKind = Literal["ply", "obj", "glb", "none"]


@dataclass(frozen=True)
class PictureCamera:
    """The camera of pictures of any size: a lens, or K in the pixels of every single picture."""

    lens: Lens = ASSUMED_LENS
    known: Intrinsics | None = None
    """The same K for pictures of all sizes."""
    focal_px: float | None = None
    """The same focal length in pictures of all sizes, with the centre in the middle."""
    focal_std_share: float = 0.0
    """Of ``focal_px``."""

    def intrinsics_for(self, width: int, height: int) -> Intrinsics:
        """K of a picture of this size; HandvizError if ``known`` cannot belong to it."""
        if self.focal_px is not None:
            return Intrinsics(self.focal_px, width / 2, height / 2, focal_std_share=self.focal_std_share)
        if self.known is not None:
            return lens_of_intrinsics(self.known, (width, height)).intrinsics_for(width, height)
        return self.lens.intrinsics_for(width, height)


@dataclass(frozen=True)
class PictureOrder:
    """Everything that decides what ``hands.json`` says of a picture, and which meshes are written."""

    model_dir: Path = MODELS
    hand_model: Path | None = None
    """The user's MANO file; None: that which the networks name, if it is known, or the open hand."""
    variant: VariantName = "final"
    camera: PictureCamera = PictureCamera()
    hand_size: HandSize = UNMEASURED
    max_hands: int = 10
    side: SideChoice = "detected"
    align_to_detector: bool = True
    correct_pose: bool = True
    compare: bool = False
    """Ask every variant, and say how far they lie apart."""
    mesh: MeshKind = "none"
    colour: ExportColour = "deviation"
    """Of meshes."""
    mesh_vertices: MeshVertices | None = None
    """None: the hand model's own in PLY and in OBJ without texture, else the display mesh's."""

    def settings(self) -> PipelineSettings:
        """Of a pipeline for pictures that do not follow each other."""
        return PipelineSettings(
            model_dir=self.model_dir,
            hand_model=self.hand_model,
            variant=self.variant,
            max_hands=self.max_hands,
            video=False,
            other_variants=False,
            align_to_detector=self.align_to_detector,
            correct_pose=self.correct_pose,
            texture=self.colour == "texture",
            hand_size=self.hand_size,
            side=self.side,
            compare=self.compare,
        )


def reconstructed(pipeline: Pipeline, frame: Frame, camera: PictureCamera) -> tuple[FrameResult, Intrinsics]:
    """Hands of a frame and their K; HandvizError where any part of what was asked for is lacking."""
    height, width = frame.image.shape[:2]
    intrinsics = camera.intrinsics_for(width, height)
    result = pipeline.process_with(frame, intrinsics)
    for trouble in (result.trouble, *result.other_troubles.values()):
        if trouble:
            raise HandvizError(trouble)
    return result, intrinsics


def written_entry(
    file: str, found: tuple[FrameResult, Intrinsics], order: PictureOrder, out: Path, mesh_stem: str
) -> dict[str, Any]:
    """Write the meshes of a picture, ``out / mesh_stem`` with hand and suffix; returns its object in ``hands.json``."""
    result, intrinsics = found
    meshes = [
        _written_mesh(hand, result, order, out, f"{mesh_stem}_{index}_{hand.handedness}")
        for index, hand in enumerate(result.hands)
    ]
    return picture_entry(file, result, intrinsics, meshes)


def _written_mesh(hand: HandMesh, result: FrameResult, order: PictureOrder, out: Path, stem: str) -> str | None:
    """The file's path relative to the output folder; None if no meshes are wanted."""
    kind, colour = order.mesh, order.colour
    if kind == "none":
        return None
    relative = f"{stem}.{kind}"
    plain_file = kind == "ply" or (kind == "obj" and colour != "texture")
    vertices: MeshVertices = order.mesh_vertices or ("model" if plain_file else "display")
    export_mesh(out / relative, hand, colour=colour, picture=result.frame.image, vertices=vertices)
    return relative
