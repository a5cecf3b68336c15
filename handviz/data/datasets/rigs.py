"""HanCo and DexYCB as rigs: every moment with the cameras that saw it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.multiview import CalibratedView, LeftOutView
from handviz.core.records import Frame
from handviz.data.datasets.annotated import MultiViewDataset
from handviz.data.datasets.registry import is_dataset_spec, open_dataset
from handviz.sources.images import now_ms
from handviz.sources.rig import MAX_VIEWS, read_rig
from handviz.sources.rig_cameras import LiveRig
from handviz.sources.rig_moments import Moment, MomentSource, MomentView, RigSource


class DatasetRig:
    """The moments of a split; cameras are named ``cam0`` to ``cam7``."""

    is_clip = False

    def __init__(self, spec: str) -> None:
        """Open the split; HandvizError if the dataset has one camera, or is not there."""
        dataset = open_dataset(spec)
        if not isinstance(dataset, MultiViewDataset):
            raise HandvizError(
                f"{dataset.name} has no moments that several calibrated cameras saw: hanco and dexycb have",
                ErrorCode.NOT_PROVIDED,
            )
        self.name, self._dataset = f"{dataset.name}/{dataset.split}", dataset
        self._starts = np.unique(dataset.moments(), return_index=True)[1]

    @property
    def count(self) -> int | None:
        """The number of moments."""
        return len(self._starts)

    def moments(self) -> Iterator[Moment]:
        """Yield all moments; cameras whose image is missing or has no labelled hand are not named."""
        for number, start in enumerate(self._starts.tolist()):
            views: list[MomentView] = []
            left_out: list[LeftOutView] = []
            for index in self._dataset.views(start)[:MAX_VIEWS].tolist():
                name = f"cam{self._dataset.camera(index)}"
                try:
                    views.append(self._view(name, index))
                except HandvizError as error:
                    left_out.append(LeftOutView(name, "unreadable", str(error)))
            yield Moment(number, tuple(views), tuple(left_out))

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _view(self, name: str, index: int) -> MomentView:
        hand = self._dataset.hand(index)
        frame = Frame(index, self._dataset.image(index), now_ms(), name=hand.name)
        camera = CalibratedView(hand.intrinsics, self._dataset.camera_from_world(index))
        return MomentView(name, hand.name, frame, camera)


def open_rig(text: str, *, may_be_live: bool = False) -> MomentSource:
    """Open a rig's file, or a split such as ``hanco/test:FOLDER``; HandvizError names what is wrong with it.

    ``may_be_live``: whether its views may be cameras, whose moments have no end.
    """
    if is_dataset_spec(text):
        return DatasetRig(text)
    rig = read_rig(Path(text).expanduser())
    if not rig.is_live:
        return RigSource(rig)
    if not may_be_live:
        raise HandvizError(
            f"{rig.name} has cameras: open it in the window, or record a clip of each and name those",
            ErrorCode.OPTION_CONFLICT,
        )
    return LiveRig(rig)
