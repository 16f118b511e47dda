"""One frame of a video that the service made, by its number, as a PNG."""

from bisect import bisect_right
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO

import av
from av import VideoFrame

from service.pipeline.colour import video_colour, video_range
from service.pipeline.encode.mux import SKIP_DECODE
from service.pipeline.frames import MediaUnreadable, media_faults
from service.pipeline.stills.png import frame_png


@dataclass(frozen=True, slots=True)
class _Times:
    """The timestamps of all frames and of the key frames, ascending, in the stream's time base."""

    frames: list[int]
    keys: list[int]


def video_frame_png(file: BinaryIO, number: int) -> bytes:
    """PNG of the frame that is shown as number `number`, counted from 0; closes the file.

    Raises MediaUnreadable, and the ReadFailed of a watched file.
    """
    with closing(file), media_faults("decoded"):
        times = _read_times(file)
        if number >= len(times.frames):
            raise MediaUnreadable(f"the file has {len(times.frames)} frames")
        frame = _decode_at(file, times, times.frames[number])
        return frame_png(frame, video_colour(frame), video_range(frame))


def _read_times(file: BinaryIO) -> _Times:
    """Of all packets, none of which is decoded."""
    frames, keys = [], []
    file.seek(0)
    with av.open(file, "r", stream_options=SKIP_DECODE) as container:
        for packet in container.demux(video=0):
            time = packet.dts if packet.pts is None else packet.pts
            if packet.size and time is not None:
                frames.append(time)
                if packet.is_keyframe:
                    keys.append(time)
    return _Times(sorted(frames), sorted(keys))


def _decode_at(file: BinaryIO, times: _Times, time: int) -> VideoFrame:
    """Our groups of pictures are closed: decoding begins at the key frame before it."""
    file.seek(0)
    with av.open(file, "r", stream_options=SKIP_DECODE) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # others would decode more frames
        if place := bisect_right(times.keys, time) - 1:
            container.seek(times.keys[place], stream=stream, backward=True)
        for frame in container.decode(stream):
            if frame.pts == time:
                return frame
    raise MediaUnreadable(f"there is no picture at timestamp {time}")
