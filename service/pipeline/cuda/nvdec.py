"""H.264, HEVC and AV1 through NVDEC by PyNvVideoCodec. One session uses one engine: slots share them out."""

import ctypes
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.utils.dlpack import from_dlpack

from service.pipeline.cuda.batch import TensorImage
from service.pipeline.cuda.driver import DeviceImage, VideoCodec
from service.pipeline.cuda.faults import CudaUnsupported

_CODEC_NAMES: dict[VideoCodec, str] = {"h264": "H264", "hevc": "HEVC", "av1": "AV1"}


class NvdecSession:
    """Surfaces are used again by later calls, so every picture is copied out, on the stream that decodes."""

    def __init__(
        self, library: Any, codec: VideoCodec, stream: Any, translate_errors: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._library, self._stream, self._translate_errors = library, stream, translate_errors
        with translate_errors():
            self._decoder: Any = library.CreateDecoder(
                gpuid=stream.device.index or 0,
                codec=getattr(library.cudaVideoCodec, _CODEC_NAMES[codec]),
                cudacontext=0,
                cudastream=stream.cuda_stream,
                usedevicememory=True,
            )

    def decode(self, packet: bytes, pts: int) -> Sequence[tuple[int, DeviceImage]]:
        memory = ctypes.create_string_buffer(packet, len(packet))
        sent = self._library.PacketData()
        sent.bsl_data, sent.bsl, sent.pts = ctypes.addressof(memory), len(packet), pts
        return self._decode_packet(sent)

    def finish(self) -> Sequence[tuple[int, DeviceImage]]:
        """An empty packet ends the stream; asked again until nothing is left."""
        found: list[tuple[int, DeviceImage]] = []
        while shown := self._decode_packet(self._library.PacketData()):
            found += shown
        return found

    def close(self) -> None:
        self._decoder = None

    def _decode_packet(self, packet: Any) -> list[tuple[int, DeviceImage]]:
        with self._translate_errors(), torch.cuda.stream(self._stream):
            return [(int(frame.getPTS()), self._copy_out(frame)) for frame in self._decoder.Decode(packet)]

    def _copy_out(self, frame: Any) -> DeviceImage:
        tensor = from_dlpack(frame)
        if tensor.ndim != 2 or tensor.dtype != torch.uint8 or tensor.shape[0] % 3 or tensor.shape[1] % 2:
            raise CudaUnsupported(f"NVDEC gives {tensor.dtype} {tuple(tensor.shape)}, which is not 8-bit NV12")
        return TensorImage(tensor.clone(), (int(tensor.shape[1]), int(tensor.shape[0]) // 3 * 2), "nv12")
