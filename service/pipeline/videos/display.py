"""How a source video wants its stored pixels shown: upright or mirrored, and in the shape of its pixels."""

import struct
from fractions import Fraction

from av import VideoFrame
from av.sidedata.sidedata import SideData, SideDataContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from service.pipeline.orientation import display_degrees, orientation_of_display
from service.plan.geometry import MAX_PIXEL_ASPECT


def display_orientation(frame: VideoFrame) -> int:
    """The EXIF orientation of the frame's display matrix: the container's or, without one, the bitstream's."""
    matrix = _display_matrix(frame)
    return orientation_of_display(matrix) if matrix else 1


def describe_ignored_turn(frame: VideoFrame) -> tuple[str, ...]:
    """What is said of a display matrix that asks for a turn other than by quarters."""
    matrix = _display_matrix(frame)
    degrees = display_degrees(matrix) if matrix else 0
    return (f"a turn by {degrees} degrees is not applied: only quarter turns are",) if degrees % 90 else ()


def _display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    # Not `frame.side_data`: the frame would hold what holds it, and stay until Python looks for circles.
    matrix = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]
    return struct.unpack_from("=9i", bytes(matrix)) if isinstance(matrix, SideData) else None


def claimed_pixel_aspect(stream: VideoStream) -> Fraction | None:
    """Width to height of a stored pixel: the container's before the codec's, as FFmpeg guesses; None if square."""
    claimed = stream.sample_aspect_ratio
    return claimed if claimed and claimed > 0 and claimed != 1 else None


def is_plausible(pixel_aspect: Fraction) -> bool:
    """Whether pixels of this shape can be meant: the most extreme video standards have 1:2 and 40:11."""
    return Fraction(1, MAX_PIXEL_ASPECT) <= pixel_aspect <= MAX_PIXEL_ASPECT


def addressable_frame(frame: VideoFrame) -> VideoFrame:
    """The frame with its rows from top to bottom and without a palette, so that its planes can be read in place.

    FFmpeg gives uncompressed AVIs, which store the last row first, as frames with a negative line size.
    """
    if frame.planes[0].line_size > 0 and not frame.format.has_palette:
        return frame
    plain = "rgb24" if frame.format.is_rgb or frame.format.has_palette else "yuv444p"
    upright = VideoReformatter().reformat(
        frame, format=plain, src_color_range=frame.color_range, dst_color_range=frame.color_range, threads=1
    )
    upright.pts, upright.time_base = frame.pts, frame.time_base
    return upright
