"""Page-locked host memory: two blocks in turn, so that one is filled while the other is on its way."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


class PinnedBlocks:
    """Grows to the largest that was asked for and stays. A block is handed out again when what was begun with it, two
    turns ago, is over."""

    def __init__(self, pin: bool = True) -> None:
        self._blocks: list[Tensor] = [torch.empty(0, dtype=torch.uint8) for _ in range(2)]
        self._over: list[Any] = [None, None]
        self._turn, self._pin = 0, pin

    def take(self, size: int) -> Tensor:
        """uint8 (size,) to fill; say `begun` when a copy has been queued that uses it."""
        self._turn ^= 1
        if self._over[self._turn] is not None:
            self._over[self._turn].synchronize()
            self._over[self._turn] = None
        if len(self._blocks[self._turn]) < size:
            self._blocks[self._turn] = torch.empty(size, dtype=torch.uint8, pin_memory=self._pin)
        return self._blocks[self._turn][:size]

    def begun(self, event: Any) -> None:
        """The block taken last is in use until this event."""
        self._over[self._turn] = event


def as_array(block: Tensor, shape: tuple[int, ...], dtype: Any) -> "np.ndarray[Any, Any]":
    """The same memory as an array."""
    array: np.ndarray[Any, Any] = block.numpy().view(dtype).reshape(shape)
    return array
