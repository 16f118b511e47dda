"""Encodes H.264, HEVC and AV1 with NVENC (PyNvVideoCodec): constant quality, one key frame, no reordering."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from service.pipeline.cuda.driver import Bytes2D, EncodedPicture, EncoderSettings
from service.pipeline.cuda.errors import CudaCallFailed, CudaUnsupported
from service.pipeline.cuda.torch.memory import as_batch_picture
from service.pipeline.encode.codecs import encoder_quality
from service.pipeline.frames import DevicePicture
from service.plan.formats import Effort

# More pictures than any segment has: the end of the segment ends the GOP.
_GOP_LENGTH = "1000000"

# NV_ENC_PIC_TYPE_I and _IDR; with a GOP this long only the first picture has one.
_KEY_PICTURE_TYPES = (2, 3)

# Surfaces that are kept alive after they were submitted: more than the encoder processes at once.
_MAX_HELD_SURFACES = 16

# From the fastest (P1) to the one with the most work (P7).
_PRESETS: dict[Effort, str] = {"fast": "P1", "balanced": "P4", "small": "P7"}

# NVENC's AV1 quantiser has 256 steps; `encoder_quality` for AV1 has 64.
_AV1_QUANTISER_SCALE = 4


class CudaArrayPlane:
    """A plane as PyNvVideoCodec expects it: uint8 (H, W, samples) in device memory."""

    def __init__(self, plane: Tensor) -> None:
        self.__cuda_array_interface__ = {
            "shape": tuple(plane.shape),
            "strides": tuple(plane.stride()),
            "typestr": "|u1",
            "data": (plane.data_ptr(), False),
            "version": 3,
        }


class Nv12Surface:
    """NV12 (H*3/2, W) as PyNvVideoCodec expects it; keeps the memory alive."""

    def __init__(self, packed: Tensor) -> None:
        height, width = packed.shape[0] // 3 * 2, packed.shape[1]
        self._packed = packed
        self._planes = [
            CudaArrayPlane(packed[:height].view(height, width, 1)),
            CudaArrayPlane(packed[height:].view(height // 2, width // 2, 2)),
        ]

    def cuda(self) -> list[CudaArrayPlane]:
        return self._planes


class NvencSession:
    """One encoder. Raises CudaUnsupported if the card has no NVENC for the codec; only opening a session shows that."""

    def __init__(
        self,
        library: Any,
        settings: EncoderSettings,
        stream: Any,
        translate_errors: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._library, self._stream, self._translate_errors = library, stream, translate_errors
        self._held_surfaces: deque[Nv12Surface] = deque(maxlen=_MAX_HELD_SURFACES)
        self._submitted = self._received = 0
        try:
            with translate_errors():
                self._encoder: Any = _create_encoder(library, settings, _encoder_options(settings, stream))
        except CudaCallFailed as error:
            raise CudaUnsupported(f"no NVENC session for {settings.codec}: {error.reason}") from error

    def parameters(self) -> bytes:
        with self._translate_errors():
            return bytes(self._encoder.GetSequenceParams())

    def encode(self, picture: "DevicePicture | Bytes2D") -> Sequence[EncodedPicture]:
        with self._translate_errors(), torch.cuda.stream(self._stream):
            surface = Nv12Surface(self._to_device(picture))
            self._held_surfaces.append(surface)
            parameters = self._library.NV_ENC_PIC_PARAMS()
            parameters.inputTimeStamp = self._submitted
            self._submitted += 1
            return self._require_order(self._encoder.Encode(surface, parameters))

    def finish(self) -> Sequence[EncodedPicture]:
        with self._translate_errors(), torch.cuda.stream(self._stream):
            return self._require_order(self._encoder.EndEncode())

    def close(self) -> None:
        self._encoder = None
        self._held_surfaces.clear()

    def _to_device(self, picture: "DevicePicture | Bytes2D") -> Tensor:
        if isinstance(picture, np.ndarray):
            return torch.from_numpy(picture).to(self._stream.device)
        batch_picture = as_batch_picture(picture)
        self._stream.wait_event(batch_picture.batch.ready)
        batch_picture.batch.packed.record_stream(self._stream)
        return batch_picture.packed

    def _require_order(self, packets: Iterable[Any]) -> list[EncodedPicture]:
        """Check that the encoder has not reordered: the timestamps would be wrong. Raises CudaCallFailed."""
        pictures = []
        for packet in packets:
            if int(packet["timestamp"]) != self._received:
                raise CudaCallFailed(f"NVENC returned picture {packet['timestamp']} instead of {self._received}")
            self._received += 1
            pictures.append(EncodedPicture(bytes(packet["data"]), int(packet["picture_type"]) in _KEY_PICTURE_TYPES))
        return pictures


def _create_encoder(library: Any, settings: EncoderSettings, options: dict[str, Any]) -> Any:
    """Create an encoder without B-frames. Raises CudaUnsupported.

    `bf` is the number of B-frames in the sources of the library, but the distance between P-frames in some of its
    documents. So the session is asked how many B-frames it uses.
    """
    for b_frames in ("0", "1"):
        encoder = library.CreateEncoder(settings.width, settings.height, "NV12", False, **options, bf=b_frames)
        if int(encoder.GetNumBFrames()) == 0:
            return encoder
    raise CudaUnsupported(f"NVENC reorders {settings.codec} even with B-frames disabled")


def _encoder_options(settings: EncoderSettings, stream: Any) -> dict[str, Any]:
    """Constant quality, no IVF container for AV1."""
    quantiser = encoder_quality(settings.codec, settings.quality)
    if settings.codec == "av1":
        quantiser *= _AV1_QUANTISER_SCALE
    return {
        "codec": settings.codec,
        "gpu_id": stream.device.index or 0,
        "cudastream": stream.cuda_stream,
        "preset": _PRESETS[settings.effort],
        "tuning_info": "high_quality",
        "rc": "constqp",
        "constqp": str(quantiser),
        "fps": f"{max(float(settings.fps), 0.01):.2f}",
        "gop": _GOP_LENGTH,
        "idrperiod": _GOP_LENGTH,
        "repeatspspps": "1",
        "use_ivf_container": "0",
    }
