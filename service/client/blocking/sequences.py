"""Datasets and parts of them as sequences of frames, and their samples as one array."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from service.client.blocking.portal import iterate, run, wrap
from service.client.frames import AsyncFrames

if TYPE_CHECKING:
    import numpy as np

Frame = TypeVar("Frame")
Frames = TypeVar("Frames")


class FrameSequence(Generic[Frame, Frames]):
    """`frames[120]`, `frames[-1]`, `frames[100:200]`, `len(frames)`, and a loop over all of them."""

    _async: Any

    def __len__(self) -> int:
        return len(self._async)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Frames: ...
    def __getitem__(self, index: int | slice) -> Frame | Frames:
        found: Frame | Frames = (
            wrap(self._async.part(index)) if isinstance(index, slice) else run(self._async.frame(index))
        )
        return found

    def __iter__(self) -> Iterator[Frame]:
        return iterate(self._async.part(slice(None)).each())

    def stack(self) -> FrameStack:
        """All samples as an array of one more dimension, which reads only what is asked for."""
        return FrameStack(self._async.part(slice(None)))


class FrameStack:
    """(frames, height, width) or (frames, height, width, 3), as dask and xarray take it: what is indexed is fetched."""

    def __init__(self, frames: AsyncFrames) -> None:
        self._frames = frames
        first = run(_first_array(frames))
        self.shape: tuple[int, ...] = (len(frames), *first.shape)
        self.dtype: np.dtype[Any] = first.dtype
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray[Any, np.dtype[Any]]:
        """As of a NumPy array, with integers and slices. Raises Invalid at a frame that cannot be read."""
        import numpy as np

        places, *rest = key if isinstance(key, tuple) else (key,)
        if places is Ellipsis:
            places, rest = slice(None), [Ellipsis, *rest]
        if not isinstance(places, slice):
            one: np.ndarray[Any, np.dtype[Any]] = run(_array_of(self._frames, int(places)))[tuple(rest)]
            return one
        part = self._frames.part(places)
        result = np.empty((len(part), *self.shape[1:]), self.dtype)
        for place, samples in enumerate(iterate(part.arrays())):
            result[place] = samples
        return result[(slice(None), *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, np.dtype[Any]]:
        return self[:] if dtype is None else self[:].astype(dtype)


async def _first_array(frames: AsyncFrames) -> Any:
    return await _array_of(frames, 0)


async def _array_of(frames: AsyncFrames, place: int) -> Any:
    return await (await frames.frame(place)).array()
