"""What becomes of pictures that cannot be read: they stop the work, or they are named, counted and left out."""

import logging
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import HandvizError
from handviz.data.datasets.annotated import HandDataset

logger = logging.getLogger(__name__)
BadPictures = Literal["stop", "skip"]


@dataclass(frozen=True, eq=False)
class UsablePictures:
    """A dataset's pictures, read from any number of threads."""

    dataset: HandDataset
    bad_pictures: BadPictures = "stop"
    bad: dict[int, str] = field(default_factory=dict)
    """Samples whose picture could not be used so far, and why"""

    def read(self, row: int) -> NDArray[np.uint8] | None:
        """(H, W, 3) RGB; None for a picture that is left out, HandvizError for one that stops the work."""
        if row in self.bad:
            return None
        try:
            return self.dataset.picture(row)
        except HandvizError as error:
            reason = str(error).rstrip(".")
            if self.bad_pictures == "stop":
                raise HandvizError(f"{reason}. --bad-pictures skip leaves such pictures out.") from error
        self.bad[row] = reason
        logger.warning("%s. Left out, number %d of %s.", reason, len(self.bad), self.dataset.name)
        return None

    @property
    def remarks(self) -> tuple[str, ...]:
        """A sentence with the count; none if no picture was left out."""
        if not self.bad:
            return ()
        first = self.bad[min(self.bad)]
        return (f"{len(self.bad):,} pictures could not be used and were left out, the first: {first}.",)
