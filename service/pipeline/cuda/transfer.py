"""Pictures on their way into pinned memory."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from torch import Tensor

from service.pipeline.cuda.batch import PictureBatch
from service.pipeline.cuda.driver import Bytes2D
from service.pipeline.cuda.pinned import as_array


class PinnedTransfer:
    """Keeps the batch in device memory until it has arrived."""

    def __init__(
        self,
        batch: PictureBatch,
        block: Tensor,
        event: Any,
        translate_errors: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._batch, self._block, self._event, self._translate_errors = batch, block, event, translate_errors

    def wait(self) -> tuple[Bytes2D, list[tuple[int, int, int]]]:
        with self._translate_errors():
            self._event.synchronize()
        shape = tuple(self._batch.packed.shape)
        size = int(np.prod(shape))
        return as_array(self._block[:size], shape, np.uint8), self._read_counts(size)

    def _read_counts(self, start: int) -> list[tuple[int, int, int]]:
        if self._batch.clipped is None:
            return []
        counts = as_array(self._block[start:], tuple(self._batch.clipped.shape), np.int32)
        return [(int(below), int(above), int(nan)) for below, above, nan in counts]
