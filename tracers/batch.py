"""What a source yields: a block of events with the losses the source reported beside it.

A batch promises rows of ``tracers.events.SCHEMA`` in the order the source gave them, and that
whatever was dropped, cut or not understood near them is counted, not hidden.
"""

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Batch:
    """Events, and what is missing around them."""

    events: pa.RecordBatch
    lost: int = 0  # events the source says it dropped
    lost_unknown: int = 0  # loss markers that carry no number
    torn: int = 0  # records or lines cut short and left out
    rejected: int = 0  # lines that look like events of ours and could not be read
