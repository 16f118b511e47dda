"""Random access to the frames of a source video by presentation timestamp."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from types import TracebackType
from typing import BinaryIO, Self

import av
from av import Packet, VideoFormat, VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream

from service.pipeline.colour import video_colour, video_range
from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.header import require_pixel_limit
from service.pipeline.light.matrices import UNKNOWN_MATRICES
from service.pipeline.memory_limit import require_memory
from service.pipeline.orientation import oriented_size
from service.pipeline.picture import Picture
from service.pipeline.videos.counted import (
    BROADCAST_FORMATS,
    CountedReader,
    Numbering,
    PacketDecoder,
    PacketNumbers,
    numbering_of,
)
from service.pipeline.videos.decoder import DecodedFrame, ForwardDecoder, read_packets
from service.pipeline.videos.diagnosis import describe_error, describe_loss, missing_pictures_reason
from service.pipeline.videos.display import (
    addressable_frame,
    claimed_pixel_aspect,
    describe_ignored_turn,
    display_orientation,
    is_plausible,
)
from service.pipeline.videos.open_start import OpenStart
from service.pipeline.videos.opening import open_video
from service.plan.colour import Colour
from service.plan.geometry import square_size

# Seek instead of reading on when the next key frame is at least this many bytes ahead (ranged reads fetch twice that).
SEEK_THRESHOLD_BYTES = 1024 * 1024

_MIN_PTS = -(2**62)
# Whatever the codec, two pictures are held at once: the one that is decoded, and the one that is shown.
_USUAL_FORMAT, _LEAST_PICTURES = "yuv420p", 2


class VideoSource:
    """One open source video. Ascending timestamps are read forward; others, and distant ones, cause a seek.

    Timestamps are in the stream's time base. Closes `file`. Where timestamps do not tell pictures apart, the number of
    the packet that holds a picture does: see `counted.PacketNumbers`.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        try:
            self.container, self.stream, self._palette = open_video(file)
        except BaseException:
            file.close()
            raise
        self._claimed_pixel_aspect = claimed_pixel_aspect(self.stream)
        self._decoder: ForwardDecoder | None = None
        self._last_frame: DecodedFrame | None = None
        self._counted: CountedReader | None = None
        self._is_at_start = True
        self._open_start: OpenStart | None = None
        self._may_start_open = self.stream.codec_context.name == "h264"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._decoder = self._last_frame = self._counted = self._open_start = None
        self.container.close()
        self._file.close()

    def picture(self, pts: int, packet: int | None = None) -> Picture:
        """The frame at exactly `pts`, or, if `packet` is given, the one in this packet: `pts` then counts the pictures.

        Raises MediaUnreadable if there is none or it is damaged.
        """
        place = f"at timestamp {pts}" if packet is None else f"number {pts} that can be decoded"
        try:
            found = self._find_in_open_start(pts, packet) or self._find(pts, packet)
        except av.error.MemoryError:
            raise
        except av.FFmpegError as error:
            self._decoder = self._last_frame = self._counted = None
            raise MediaUnreadable(f"the source video is damaged: {describe_error(error)}") from error
        if found is None or found.pts != (pts if packet is None else packet):
            raise MediaUnreadable(f"the source video has no picture {place}")
        if found.corrupt or found.frame.is_corrupt:
            place = place if packet is None else f"at picture {pts}"
            raise MediaUnreadable(f"the source video is damaged {place}")
        return self._to_picture(found.frame)

    def _to_picture(self, decoded: VideoFrame) -> Picture:
        frame, orientation = addressable_frame(decoded), display_orientation(decoded)
        picture = Picture(
            frame,
            f"ffmpeg-{self.stream.codec_context.codec.name}",
            orientation,
            conversions=describe_ignored_turn(decoded),
            colour=declare_colour(frame),
        )
        claimed = self._claimed_pixel_aspect
        if claimed is None:
            return picture
        if not is_plausible(claimed):
            words = f"pixels of {claimed.numerator}:{claimed.denominator} are not believed: they are shown square"
            return replace(picture, conversions=(*picture.conversions, words))
        shown = oriented_size(square_size((frame.width, frame.height), claimed), orientation)
        return replace(picture, pixel_aspect=claimed, shown_size=shown)

    @property
    def pixel_aspect(self) -> Fraction | None:
        """The width to the height of a stored pixel, before orientation; None if it is square or not plausible."""
        claimed = self._claimed_pixel_aspect
        return claimed if claimed and is_plausible(claimed) else None

    def require_limits(self, max_pixels: int) -> None:
        """Raises MediaUnreadable for pictures of more than `max_pixels`, and for some that cannot fit into memory."""
        width, height = self.stream.width, self.stream.height
        require_pixel_limit(width, height, max_pixels)
        bits = VideoFormat(self.stream.pix_fmt or _USUAL_FORMAT).padded_bits_per_pixel
        require_memory("decoding it", width * height * bits // 8 * _LEAST_PICTURES)

    def first_frame(self) -> VideoFrame:
        """The first frame that can be decoded, for its size and colour tags. Raises MediaUnreadable."""
        try:
            self._last_frame = self.from_start(may_skip=True).decode_until(_MIN_PTS)
            first = self._last_frame or next(self.all_packets().frames(), None)
        except av.error.MemoryError:
            raise
        except av.FFmpegError as error:
            raise MediaUnreadable(f"the source video is damaged: {describe_error(error)}") from error
        if first is None:
            raise MediaUnreadable(self.missing_pictures_reason())
        declare_colour(first.frame)
        return first.frame

    def from_start(self, *, may_skip: bool = False) -> ForwardDecoder:
        """Decode from the first packet: without an index, a seek to the start may end up after it."""
        self._rewind()
        self._decoder = self._new_decoder(may_skip=may_skip)
        return self._decoder

    def stored_packets(self) -> "Iterator[Packet[VideoStream]]":
        """All packets, with the timestamps that are in the file: of broadcast formats, none is computed."""
        self._decoder = None
        if self.container.format.name in BROADCAST_FORMATS:
            self._reopen({"fflags": "+nofillin"})
        else:
            self._rewind()
        self._is_at_start = False
        return read_packets(self.container, self.stream)

    def all_packets(self, numbering: Numbering = "offset", *, has_keys: bool = False) -> PacketDecoder:
        """Decode from the first packet, and name pictures by their packets. With `has_keys`, packets of a broadcast
        before the first key frame are left out."""
        self._rewind()
        self._decoder = None
        return PacketDecoder(self.container, self.stream, numbering, at_start=True, may_skip=has_keys)

    def _find(self, pts: int, packet: int | None) -> DecodedFrame | None:
        """Decode strictly; where that fails, see whether a first group refers to what was cut off before it."""
        found = self._decode_at(pts) if packet is None else self._decode_packet(packet)
        name = pts if packet is None else packet
        is_whole = found is not None and found.pts == name and not found.corrupt
        if is_whole or not self._may_start_open or (packet is None and self.container.format.name == "avi"):
            return found
        self._reopen(is_strict=False)
        numbers = PacketNumbers(numbering_of(packet)) if packet is not None else None
        name_packet = numbers.number if numbers else lambda packet: packet.pts
        self._open_start = OpenStart(self.container, self.stream, name_packet)
        return self._find_in_open_start(pts, packet) or found

    def _find_in_open_start(self, pts: int, packet: int | None) -> DecodedFrame | None:
        """None leaves the source as it was opened."""
        if self._open_start is None:
            return None
        name = pts if packet is None else packet
        frame = self._open_start.find(name)
        if frame is not None:
            return DecodedFrame(name, frame, False)
        self._may_start_open = self._open_start.is_open
        self._open_start = self._decoder = self._counted = None
        self._reopen()
        return None

    def missing_pictures_reason(self) -> str:
        """Why not even one picture can be shown."""
        with _kept_position(self._file):
            return missing_pictures_reason(self._file, self.stream)

    def describe_loss(self) -> str | None:
        """Which part of the file is missing; None if it is whole."""
        with _kept_position(self._file):
            return describe_loss(self._file, self.stream)

    def _decode_at(self, pts: int) -> DecodedFrame | None:
        """The first frame at or after `pts`, decoded with all its references if possible."""
        last, decoder = self._last_frame, self._decoder
        if last is not None and last.pts == pts:
            return last
        if decoder is None or last is None or last.pts > pts or self._is_far_ahead(pts, decoder):
            decoder = self._seek(pts)
        self._last_frame = decoder.decode_until(pts)
        if decoder.first_pts is None or decoder.first_pts > pts:
            self._last_frame = self._decode_from_earlier(pts, decoder)
        first_pts = self._decoder.first_pts if self._decoder else None
        if self._last_frame is not None and self._last_frame.corrupt and first_pts is not None:
            self._last_frame = self._retry_from_earlier_keyframe(pts, first_pts)
        return self._last_frame

    def _is_far_ahead(self, pts: int, decoder: ForwardDecoder) -> bool:
        """Whether the index has a key frame for `pts` that is far enough ahead in the file to seek to it."""
        entries = self.stream.index_entries
        number = entries.search_timestamp(pts, backward=True)
        if self._palette and self._palette.sequential:
            return False
        return number >= 0 and entries[number].pos > decoder.position + SEEK_THRESHOLD_BYTES

    def _retry_from_earlier_keyframe(self, pts: int, first_pts: int) -> DecodedFrame | None:
        """After a recovery point, H.264 may refer to frames before it: start at a key frame before `first_pts`.

        Some containers seek to a packet after the key frame: at most 16 seconds earlier, then at the first packet.
        """
        start = self.stream.start_time or 0
        if first_pts <= start:
            return self._last_frame
        for seconds in (1, 4, 16):
            target = first_pts - seconds * self.ticks_per_second
            decoder = self._seek(target, may_skip=False) if target > start else self.from_start()
            found = decoder.decode_until(pts)
            if target <= start or (decoder.first_pts is not None and decoder.first_pts < first_pts):
                break
        return found

    def _decode_from_earlier(self, pts: int, decoder: ForwardDecoder) -> DecodedFrame | None:
        """Start earlier until decoding begins at or before `pts`, at last at the first packet of the file.

        An open GOP shows frames before its key frame, and some streams recover slowly after one.
        """
        found = self._last_frame
        start, target, step = self.stream.start_time or 0, pts, self.ticks_per_second
        while (decoder.first_pts is None or decoder.first_pts > pts) and target > start:
            target, step = max(start, target - step), step * 2
            decoder = self._seek(target, may_skip=False)
            found = decoder.decode_until(pts)
        if decoder.first_pts is None or decoder.first_pts > pts:
            found = self.from_start().decode_until(pts)
        return found

    def _decode_packet(self, number: int) -> DecodedFrame | None:
        """The picture of packet `number`."""
        if self._counted is None:
            self._counted = CountedReader(self.container, self.stream, self._reopen)
        found = self._counted.decode_at(number)
        self._is_at_start = False
        return found

    def _seek(self, pts: int, *, may_skip: bool = True) -> ForwardDecoder:
        """Decode from a key frame at or before `pts`, if the container can find one, else from the first packet."""
        if self._palette and self._palette.sequential:
            return self.from_start(may_skip=may_skip)
        try:
            self.container.seek(pts, stream=self.stream, backward=True)
        except av.FFmpegError:
            return self.from_start(may_skip=may_skip)
        self._is_at_start, self._last_frame = False, None
        self._decoder = self._new_decoder(may_skip=may_skip, at_key=True)
        return self._decoder

    def _new_decoder(self, *, may_skip: bool, at_key: bool = False) -> ForwardDecoder:
        palette = self._palette.first if self._palette else None
        return ForwardDecoder(self.container, self.stream, may_skip=may_skip, at_key=at_key, palette=palette)

    def _rewind(self) -> None:
        """Be at the first packet."""
        if not self._is_at_start:
            self._reopen()
        self._is_at_start, self._last_frame, self._counted, self._open_start = False, None, None, None

    def _reopen(
        self, options: dict[str, str] | None = None, *, is_strict: bool = True
    ) -> tuple[InputContainer, VideoStream]:
        self.container.close()
        self.container, self.stream, self._palette = open_video(self._file, options, is_strict=is_strict)
        self._is_at_start, self._last_frame = True, None
        return self.container, self.stream

    @property
    def ticks_per_second(self) -> int:
        """Of the stream's time base, at least 1."""
        return max(1, round(1 / self.stream.time_base)) if self.stream.time_base else 1


def declare_colour(frame: VideoFrame) -> Colour:
    """Set the frame's matrix and range to what they mean, filled in by this frame alone, and return its colours.

    Raises MediaUnreadable for a matrix whose arithmetic is not known.
    """
    colour = video_colour(frame)
    if name := UNKNOWN_MATRICES.get(colour.matrix):
        raise MediaUnreadable(f"its colours are coded as {name} (matrix {colour.matrix}), which cannot be shown")
    frame.color_range = video_range(frame)
    if not frame.format.is_rgb:
        frame.colorspace = colour.matrix
    return colour


@contextmanager
def _kept_position(file: BinaryIO) -> Iterator[None]:
    """The open container goes on reading where it was."""
    position = file.tell()
    try:
        yield
    finally:
        file.seek(position)
