"""Argument checks of all operations. Each raises a ValueError that names the argument."""

from typing import TYPE_CHECKING

from kernels.nv12 import Nv12, even_size

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# The limit of a CUDA grid's third dimension.
_MAX_FRAMES = 65535

# Offsets inside one frame are 32-bit.
_MAX_FRAME_SPAN = 2**31 - 1


def require_frames(name: str, tensor: "Tensor", shape: str, dtypes: tuple[str, ...]) -> None:
    """Check type, shape, size and device of a batch; `shape` is like "N3HW": letters are free, digits are not."""
    require_dtype(name, tensor, dtypes)
    if tensor.ndim != len(shape) or 0 in tensor.shape:
        raise ValueError(f"{name} must be ({', '.join(shape)}) and not empty, not {tuple(tensor.shape)}")
    for axis, letter in enumerate(shape):
        if letter.isdigit() and tensor.shape[axis] != int(letter):
            raise ValueError(f"{name} must be ({', '.join(shape)}), not {tuple(tensor.shape)}")
    span = sum((length - 1) * step for length, step in zip(tensor.shape[1:], tensor.stride()[1:], strict=True))
    if tensor.shape[0] > _MAX_FRAMES or span > _MAX_FRAME_SPAN:
        raise ValueError(f"{name} holds more than {_MAX_FRAMES} frames, or a frame over {_MAX_FRAME_SPAN} samples")
    if tensor.device.type not in ("cpu", "cuda"):
        raise ValueError(f"{name} is on {tensor.device}, and only cpu and cuda have an implementation")


def require_nv12(name: str, picture: Nv12) -> None:
    """Check that the two planes belong to the same pictures."""
    require_frames(f"{name}.luma", picture.luma, "NHW", ("uint8",))
    require_frames(f"{name}.chroma", picture.chroma, "NHW2", ("uint8",))
    count, height, width = picture.luma.shape
    if height % 2 or width % 2 or tuple(picture.chroma.shape) != (count, height // 2, width // 2, 2):
        raise ValueError(
            f"{name}.chroma must be (N, H/2, W/2, 2) for an even luma (N, H, W), "
            f"not {tuple(picture.chroma.shape)} for {tuple(picture.luma.shape)}"
        )
    require_same_device(f"{name}.chroma", picture.chroma, picture.luma.device)


def require_target(name: str, picture: Nv12, count: int, size: tuple[int, int], device: "torch.device") -> None:
    """Check that `out` has room for exactly `count` pictures of this (height, width), with contiguous rows."""
    require_nv12(name, picture)
    require_same_device(f"{name}.luma", picture.luma, device)
    expected = (count, *even_size(size))
    if tuple(picture.luma.shape) != expected:
        raise ValueError(f"{name}.luma must be {expected}, not {tuple(picture.luma.shape)}")
    if picture.luma.stride(2) != 1 or picture.chroma.stride()[2:] != (2, 1):
        raise ValueError(f"{name} must have rows of neighbouring samples")


def require_dtype(name: str, tensor: "Tensor", dtypes: tuple[str, ...]) -> None:
    if str(tensor.dtype).removeprefix("torch.") not in dtypes:
        raise ValueError(f"{name} must be of {' or '.join(dtypes)}, not {tensor.dtype}")


def require_same_device(name: str, tensor: "Tensor", device: "torch.device") -> None:
    """Refuse a tensor on another device: nothing is copied implicitly."""
    if tensor.device != device:
        raise ValueError(f"{name} is on {tensor.device}, but the frames are on {device}")
