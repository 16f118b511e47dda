"""Page-locked host memory: two blocks in turn, so that one is filled while the other is on its way."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


class PinnedDoubleBuffer:
    """Grows to the largest that was asked for and stays. A block is handed out again when what was begun with it, two
    turns ago, is over."""

    def __init__(self, pin: bool = True) -> None:
        self._blocks: list[Tensor] = [torch.empty(0, dtype=torch.uint8) for _ in range(2)]
        self._events: list[Any] = [None, None]
        self._current, self._pin = 0, pin

    def acquire(self, size: int) -> Tensor:
        """uint8 (size,) to fill; say `begun` when a copy has been queued that uses it."""
        self._current ^= 1
        if self._events[self._current] is not None:
            self._events[self._current].synchronize()
            self._events[self._current] = None
        if len(self._blocks[self._current]) < size:
            self._blocks[self._current] = torch.empty(size, dtype=torch.uint8, pin_memory=self._pin)
        return self._blocks[self._current][:size]

    def mark_in_use(self, event: Any) -> None:
        """The block taken last is in use until this event."""
        self._events[self._current] = event


def as_array(block: Tensor, shape: tuple[int, ...], dtype: Any) -> "np.ndarray[Any, Any]":
    """The same memory as an array."""
    array: np.ndarray[Any, Any] = block.numpy().view(dtype).reshape(shape)
    return array
