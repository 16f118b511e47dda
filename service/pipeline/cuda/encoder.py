"""The segment encoder on a GPU: NVENC packets in the container and with the timestamps of the CPU encoder."""

from collections import deque
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import av
from av import VideoFrame
from av.bitstream import BitStreamFilterContext
from av.video.stream import VideoStream

from service.pipeline.colour import ColourTags
from service.pipeline.cuda.device_frame import frame_to_nv12
from service.pipeline.cuda.driver import VIDEO_CODECS, CudaDriver, EncodedPicture, EncoderSession, EncoderSettings
from service.pipeline.cuda.errors import CudaError, DeviceLost, EncoderLost
from service.pipeline.encode.encoder import SegmentEncoder
from service.pipeline.encode.mux import segment_mux_options
from service.pipeline.frame_context import EncoderInput
from service.plan.render_plan import RenderOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av import Packet


class DeviceEncoder(SegmentEncoder):
    """NVENC without B-frames, so the order of pictures stays. Raises EncoderLost for every error but DeviceLost."""

    def __init__(self, options: RenderOptions, colour: ColourTags, driver: CudaDriver) -> None:
        super().__init__(options, colour)
        self._driver, self._reorder = driver, 0
        self._session: EncoderSession | None = None
        self._tag_filter = _colour_tag_filter(options.codec, colour)
        self._pending_starts: deque[int] = deque()

    def finish(self) -> bytes:
        """The bytes of the segment, with the HEVC tag that QuickTime and Safari play.

        Other codecs are left unchanged: their data could contain the old tag by chance.
        """
        data = super().finish()
        return data.replace(b"hev1", b"hvc1", 1) if self._options.codec == "hevc" else data

    def close(self) -> None:
        """Release the encoding session; a card has few."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _open_stream(self) -> VideoStream:
        options, colour = self._options, self._colour
        settings = EncoderSettings(
            codec=VIDEO_CODECS[options.codec],
            width=options.width,
            height=options.height,
            fps=options.fps,
            quality=options.quality,
            matrix=colour.matrix,
            primaries=colour.primaries,
            transfer=colour.transfer,
            effort=options.effort,
        )
        with _raise_encoder_lost():
            self._session = self._driver.open_encoder(settings)
        self._container = av.open(self._buffer, "w", format="mp4", options=segment_mux_options(options.ticks))
        size = {"width": options.width, "height": options.height}
        stream: Any = self._container.add_mux_stream(options.codec, options.fps, **size)
        self._stream = stream
        return self._stream

    def _encode(self, picture: EncoderInput, stream: VideoStream, start: int) -> "list[Packet[VideoStream]]":
        assert self._session is not None and not isinstance(picture, bytes)
        self._pending_starts.append(start)
        with _raise_encoder_lost():
            encoded = self._session.encode(frame_to_nv12(picture) if isinstance(picture, VideoFrame) else picture)
        return self._to_packets(encoded, stream)

    def _flush(self, stream: VideoStream) -> "list[Packet[VideoStream]]":
        assert self._session is not None
        with _raise_encoder_lost():
            packets = self._to_packets(self._session.finish(), stream)
        if self._pending_starts:
            missing = len(self._pending_starts)
            raise EncoderLost(f"the encoder returned {missing} fewer pictures than the {self.frames} it received")
        return packets

    def _to_packets(self, pictures: Sequence[EncodedPicture], stream: VideoStream) -> "list[Packet[VideoStream]]":
        if len(pictures) > len(self._pending_starts):
            raise EncoderLost("the encoder returned more pictures than it received")
        return [
            self._packet(self._add_colour_tags(one.data), stream, self._pending_starts.popleft(), one.is_key_frame)
            for one in pictures
        ]

    def _add_colour_tags(self, data: bytes) -> bytes:
        """Write the colour tags into the parameter sets, where the muxer reads them; NVENC leaves them out."""
        return b"".join(bytes(packet) for packet in self._tag_filter.filter(av.Packet(data)))


def _colour_tag_filter(codec: str, colour: ColourTags) -> BitStreamFilterContext:
    primaries = "color_primaries" if codec == "av1" else "colour_primaries"
    limited = "color_range=tv" if codec == "av1" else "video_full_range_flag=0"
    values = f"{primaries}={colour.primaries}:transfer_characteristics={colour.transfer}"
    return BitStreamFilterContext(f"{codec}_metadata={values}:matrix_coefficients={colour.matrix}:{limited}", codec)


@contextmanager
def _raise_encoder_lost() -> "Iterator[None]":
    """Turn errors into EncoderLost: a file has one encoder, so the render has to be replanned."""
    try:
        yield
    except (DeviceLost, EncoderLost):
        raise
    except CudaError as error:
        raise EncoderLost(error.reason) from error
