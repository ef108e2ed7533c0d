# SPDX-License-Identifier: BSD-2-Clause
"""Sequence numbers on the receiving side: what is missing, late or damaged."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ringpass.pktgen import frame
from ringport.batch import Batch


@dataclass
class Checker:
    """Looks at the numbers of all streams, a batch at a time."""

    frames: int = 0
    """Frames with a number."""
    lost: int = 0
    """Numbers that were left out, and did not come later."""
    reordered: int = 0
    """Frames whose number, or a later one, had been there already."""
    foreign: int = 0
    """Frames that are none of pktgen's, or damaged."""
    _next: dict[int, int] = field(default_factory=dict)

    def look(self, batch: Batch) -> None:
        """Check the frames of `batch`, each of one slot."""
        if not len(batch):
            return
        start = batch.rows(frame.MAGIC_AT, frame.MIN_CHECKED)
        fields = start.view([("magic", ">u4"), ("stream", ">u4"), ("sequence", ">u8")])[:, 0]
        ours = (fields["magic"] == frame.MAGIC) & (batch.lengths >= frame.MIN_CHECKED)
        self.foreign += len(batch) - int(ours.sum())
        streams = fields["stream"][ours]
        numbers = fields["sequence"][ours].astype(np.int64)
        for stream in np.unique(streams).tolist():
            self._follow(stream, numbers[streams == stream])

    def _follow(self, stream: int, numbers: npt.NDArray[np.int64]) -> None:
        self.frames += len(numbers)
        expected = self._next.get(stream, int(numbers[0]))
        # What the highest number so far makes each frame's the next one.
        following = np.maximum.accumulate(np.append(expected, numbers + 1))
        late = int((numbers < following[:-1]).sum())
        self.reordered += late
        # A late frame had been taken for lost.
        self.lost += int(following[-1]) - expected - len(numbers)
        self._next[stream] = int(following[-1])
