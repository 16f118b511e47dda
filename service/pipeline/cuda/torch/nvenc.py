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

# Pictures between key frames: the segment ends the GOP.
_GOP_LENGTH = "1000000"

# NV_ENC_PIC_TYPE_I and _IDR; of a GOP without end only the first picture is one.
_KEY_PICTURE_TYPES = (2, 3)

# Pictures kept alive after they were handed over: more than the encoder has under way.
_MAX_HELD_SURFACES = 16

# NVENC's AV1 quantiser has 256 steps, where our scale for AV1 has 64.
_AV1_QUANTISER_SCALE = 4


class CudaArrayPlane:
    """A plane as PyNvVideoCodec takes it: (H, W, samples) of uint8 in device memory."""

    def __init__(self, plane: Tensor) -> None:
        self.__cuda_array_interface__ = {
            "shape": tuple(plane.shape),
            "strides": tuple(plane.stride()),
            "typestr": "|u1",
            "data": (plane.data_ptr(), False),
            "version": 3,
        }


class Nv12Surface:
    """(H*3/2, W) NV12 as PyNvVideoCodec takes it; keeps the memory alive."""

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
    """One session. Raises CudaUnsupported where the card has no such encoder: a name proves nothing."""

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
        except CudaCallFailed as fault:
            raise CudaUnsupported(f"no NVENC session for {settings.codec}: {fault.reason}") from fault

    def parameters(self) -> bytes:
        with self._translate_errors():
            return bytes(self._encoder.GetSequenceParams())

    def encode(self, picture: "DevicePicture | Bytes2D") -> Sequence[EncodedPicture]:
        with self._translate_errors(), torch.cuda.stream(self._stream):
            surface = Nv12Surface(self._to_device(picture))
            self._held_surfaces.append(surface)
            pic = self._library.NV_ENC_PIC_PARAMS()
            pic.inputTimeStamp = self._submitted
            self._submitted += 1
            return self._require_order(self._encoder.Encode(surface, pic))

    def finish(self) -> Sequence[EncodedPicture]:
        with self._translate_errors(), torch.cuda.stream(self._stream):
            return self._require_order(self._encoder.EndEncode())

    def close(self) -> None:
        self._encoder = None
        self._held_surfaces.clear()

    def _to_device(self, picture: "DevicePicture | Bytes2D") -> Tensor:
        if isinstance(picture, np.ndarray):
            return torch.from_numpy(picture).to(self._stream.device)
        ours = as_batch_picture(picture)
        self._stream.wait_event(ours.batch.ready)
        ours.batch.packed.record_stream(self._stream)
        return ours.packed

    def _require_order(self, packets: Iterable[Any]) -> list[EncodedPicture]:
        """Raises CudaFailed when the encoder reorders after all: the timestamps would be wrong."""
        found = []
        for packet in packets:
            if int(packet["timestamp"]) != self._received:
                raise CudaCallFailed(
                    f"picture {packet['timestamp']} came out of NVENC in the place of {self._received}"
                )
            self._received += 1
            found.append(EncodedPicture(bytes(packet["data"]), int(packet["picture_type"]) in _KEY_PICTURE_TYPES))
        return found


def _create_encoder(library: Any, settings: EncoderSettings, options: dict[str, Any]) -> Any:
    """`bf` counts B pictures in the library's sources, and the distance between P pictures in some descriptions of it:
    the session itself is asked how many it uses."""
    for pictures in ("0", "1"):
        size = (settings.width, settings.height)
        encoder = library.CreateEncoder(*size, "NV12", False, **options, bf=pictures)
        if int(encoder.GetNumBFrames()) == 0:
            return encoder
    raise CudaUnsupported(f"NVENC reorders {settings.codec} whatever it is told")


def _encoder_options(settings: EncoderSettings, stream: Any) -> dict[str, Any]:
    """AV1 comes as plain units, not in IVF."""
    quantiser = encoder_quality(settings.codec, settings.quality) * (
        _AV1_QUANTISER_SCALE if settings.codec == "av1" else 1
    )
    return {
        "codec": settings.codec,
        "gpu_id": stream.device.index or 0,
        "cudastream": stream.cuda_stream,
        "preset": "P4",
        "tuning_info": "high_quality",
        "rc": "constqp",
        "constqp": str(quantiser),
        "fps": f"{max(float(settings.fps), 0.01):.2f}",
        "gop": _GOP_LENGTH,
        "idrperiod": _GOP_LENGTH,
        "repeatspspps": "1",
        "use_ivf_container": "0",
    }
