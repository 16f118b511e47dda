"""Decodes image bytes to a Picture: reads the header, checks every limit on it, then decodes and rejects damage."""

from typing import NamedTuple

import av
import numpy as np
from av import VideoFrame
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import Interpolation, VideoReformatter

from service.pipeline.colour import FULL_RANGE, IMAGE_COLOUR, LIMITED_RANGE, swscale_matrix
from service.pipeline.frames import MediaUnreadable
from service.pipeline.images import exif
from service.pipeline.images.colour_conversion import ColourConversion, plan_conversion
from service.pipeline.images.decode_memory import image_memory, surely_fits
from service.pipeline.images.header import (
    DecodeOptions,
    ImageHeader,
    detect_format,
    require_compression_ratio,
    require_pixel_limit,
)
from service.pipeline.images.jpeg import as_ycbcr, jpeg_header, jpeg_layout
from service.pipeline.images.png import (
    decode_png,
    png_header,
    png_without_metadata,
    without_colour_chunks,
    without_packed_text,
)
from service.pipeline.images.stored_colour import ADOBE_RGB, UNSTATED, StoredColour
from service.pipeline.images.tiff import decode_tiff
from service.pipeline.images.webp import decode_webp, require_complete_webp, webp_header
from service.pipeline.memory_limit import require_memory
from service.pipeline.native_libraries import reported_errors
from service.pipeline.picture import (
    ARRAY_FORMATS,
    DecodedSamples,
    Picture,
    Samples,
    as_frame_view,
    empty_frame,
    has_number,
    samples_view,
    to_frame,
)
from service.pipeline.tone.window import Window

_HEADER_READERS = {"jpeg": jpeg_header, "png": png_header, "webp": webp_header}
_CODECS = {"jpeg": "mjpeg", "png": "png", "webp": "webp"}
_STRICT_OPTIONS = {"err_detect": "crccheck+bitstream+buffer+explode"}
# Xvid's inverse DCT is 0.7 ms faster at 1080p than FFmpeg's default and closer to the exact one: 1.3 % of noise is one
# level off, in both directions alike (FFmpeg's: 1.7 %, nearly all too low).
_CODEC_OPTIONS = {"mjpeg": _STRICT_OPTIONS | {"idct": "xvid"}}
# FFmpeg only logs that, and leaves in the missing rows what its buffer held before.
_ROWS_MISSING = "IEND without all image"
_CMYK = 4
_SCAN_MARKER, _HUFFMAN_TABLE, _MAX_SCANS = b"\xff\xda", b"\xff\xc4", 500
# No encoder writes more scans than the first; beyond them even empty ones may take a second in all.
_FREE_SCANS, _MAX_SCANNED_PIXELS = 64, 4_000_000_000
# Exact rounding, and chroma of every pixel: the triangle filter of libjpeg's upsampling.
_RGB_TARGET = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def read_header(data: bytes) -> ImageHeader:
    """The header of a JPEG, PNG or WebP, of which `data` may be the beginning.

    Raises HeaderIncomplete, and MediaUnreadable for anything else, TIFF included.
    """
    reader = _HEADER_READERS.get(detect_format(data))
    if reader is None:
        raise MediaUnreadable("a TIFF is probed by its directories")
    return reader(data)


class _Decoded(NamedTuple):
    image: VideoFrame | Samples
    decoder: str
    orientation: int
    conversions: tuple[str, ...] = ()


class ImageDecoder:
    """Decodes images one after another on the calling thread, with one codec context per format.

    Colours that are not sRGB's are converted, unless the options say to keep them.
    """

    def __init__(self, options: DecodeOptions) -> None:
        self._options = options
        self._contexts: dict[str, VideoCodecContext] = {}
        self._reformatter = VideoReformatter()

    def decode(self, data: bytes) -> Picture:
        """JPEG and lossy WebP stay YCbCr; others become gray or RGB of 8 or 16 bits, and so does what is converted from
        a colour profile. Raises MediaUnreadable."""
        image, decoder, orientation, conversions = self._decode(data)
        if isinstance(image, VideoFrame):
            return Picture(image, decoder, orientation, conversions=conversions)
        return to_picture(image, self._options.window, decoder, orientation, conversions)

    def decode_samples(self, data: bytes) -> Samples | None:
        """Samples (height, width) of gray of any depth, or (height, width, 3) of RGB that is not unsigned 8-bit.

        None for other images. Raises MediaUnreadable.
        """
        image = self._decode(data).image
        samples = samples_view(image) if isinstance(image, VideoFrame) else image
        return None if samples is None or (samples.ndim == 3 and samples.dtype == np.uint8) else samples

    def decode_all_samples(self, data: bytes) -> DecodedSamples:
        """The samples of any image; YCbCr as 8-bit R'G'B'. Raises MediaUnreadable."""
        image, _, orientation, conversions = self._decode(data)
        samples = self._to_samples(image, gray=False) if isinstance(image, VideoFrame) else image
        return DecodedSamples(samples, orientation, conversions)

    def _decode(self, data: bytes) -> _Decoded:
        image_format = detect_format(data)
        if image_format == "tiff":
            page = decode_tiff(data, self._options)
            return _Decoded(page.samples, "tifffile", page.orientation, page.conversions)
        header = read_header(data)
        require_decodable(data, header, self._options.max_pixels)
        orientation = exif.orientation(header.exif) if header.exif else 1
        conversion = plan_header_conversion(header, keep=self._options.keep_colours)
        if not surely_fits(header.width * header.height):
            needed = image_memory(data, header, self._options, conversion)
            require_memory("decoding it", needed, self._contexts.clear)
        image, decoder = self._decode_colours(data, header, conversion)
        return _Decoded(image, decoder, orientation, conversion.words)

    def _decode_colours(
        self, data: bytes, header: ImageHeader, conversion: ColourConversion
    ) -> tuple[VideoFrame | Samples, str]:
        """(the picture after `conversion`, the name of the decoder)."""
        if header.format == "png":
            data = without_packed_text(without_colour_chunks(data))
        if header.plain:
            frame, decoder = self._decode_plain(data, header), f"ffmpeg-{_CODECS[header.format]}"
            if header.format == "jpeg" and frame.format.is_rgb and jpeg_layout(data).ambiguous:
                frame = self._decode_with_ffmpeg(as_ycbcr(data), header)
            if not conversion.is_needed:
                return frame, decoder
            return conversion.apply(self._to_samples(frame, gray=header.channels == 1)), decoder
        if header.format == "png":
            samples = decode_png(data, header, self._options.background, conversion)
            return samples, "libpng" if header.bit_depth == 16 else "pillow-png"
        return decode_webp(data, self._options.background, conversion), "libwebp"

    def _to_samples(self, frame: VideoFrame, *, gray: bool) -> Samples:
        """(height, width) of a gray frame, else (height, width, 3) of R'G'B'; uint8."""
        samples = samples_view(frame)
        if samples is None:
            full_range = "j" in frame.format.name or frame.format.is_rgb
            frame = self._reformatter.reformat(
                frame,
                format="gray" if gray else "rgb24",
                src_colorspace=swscale_matrix(IMAGE_COLOUR.matrix),
                interpolation=_RGB_TARGET,
                src_color_range=FULL_RANGE if full_range else LIMITED_RANGE,
                dst_color_range=FULL_RANGE,
                threads=1,
            )
            samples = samples_view(frame)
            assert samples is not None
        return samples

    def _decode_plain(self, data: bytes, header: ImageHeader) -> VideoFrame:
        """FFmpeg refuses a PNG whose EXIF or text is damaged: then only what makes the picture is decoded."""
        try:
            return self._decode_with_ffmpeg(data, header)
        except MediaUnreadable:
            bare = png_without_metadata(data) if header.format == "png" else data
            if len(bare) == len(data):
                raise
            return self._decode_with_ffmpeg(bare, header)

    def _decode_with_ffmpeg(self, data: bytes, header: ImageHeader) -> VideoFrame:
        codec = _CODECS[header.format]
        context = self._contexts.get(codec) or _open_codec(codec)
        self._contexts.pop(codec, None)  # a context that failed once is not used again
        if header.format == "jpeg" and data.find(_HUFFMAN_TABLE, 0, header.data_offset) < 0:
            context = _open_codec(codec)  # else it would use the tables of the JPEG before, in place of the usual ones
        packet = av.Packet(data)
        packet.is_keyframe = True  # else FFmpeg's PNG decoder adds the image to the previous one (as MNG deltas)
        try:
            with reported_errors() as errors:
                frames = context.decode(packet)
        except av.error.PatchWelcomeError as error:
            reason = f"a {_format_name(header)} of this kind (its chroma sampling) is not supported: save it again"
            raise MediaUnreadable(reason) from error
        except av.error.MemoryError:
            raise
        except av.FFmpegError as error:
            raise MediaUnreadable(f"the {_format_name(header)} is damaged: {error.strerror}") from error
        if any(_ROWS_MISSING in error for error in errors):
            raise MediaUnreadable("the PNG ends before its picture does: it has fewer rows than its header says")
        self._contexts[codec] = context
        return _require_intact(frames, header)


def require_decodable(data: bytes, header: ImageHeader, max_pixels: int) -> None:
    """Check limits, completeness and colour model before decoding. Raises MediaUnreadable."""
    require_pixel_limit(header.width, header.height, max_pixels)
    samples = header.width * header.height * max(header.channels, 1)
    require_compression_ratio(samples * (2 if header.bit_depth > 8 else 1), len(data))
    _require_end_marker(data, header)
    _require_few_scans(data, header)
    require_supported(header)


def _require_few_scans(data: bytes, header: ImageHeader) -> None:
    """A progressive JPEG has about ten scans, and each goes over the whole picture: thousands of them, in a small file,
    would keep the decoder busy for minutes. In the compressed data a marker stands only for itself."""
    if header.format == "jpeg":
        scans, pixels = data.count(_SCAN_MARKER, header.data_offset), header.width * header.height
        limit = min(_MAX_SCANS, max(_FREE_SCANS, _MAX_SCANNED_PIXELS // pixels))
        if scans > limit:
            raise MediaUnreadable(f"the JPEG has {scans} scans, more than the limit of {limit} for its size")


def require_supported(header: ImageHeader) -> None:
    """Refuse kinds of images that cannot be shown, by name. Raises MediaUnreadable."""
    if header.format == "jpeg" and header.channels == _CMYK:
        raise MediaUnreadable("a CMYK JPEG is for print, its colours have no meaning on a screen: save it as RGB")
    if header.format == "jpeg" and header.bit_depth != 8:
        raise MediaUnreadable(f"a JPEG of {header.bit_depth}-bit samples is not supported")


def plan_header_conversion(header: ImageHeader, *, keep: bool = False) -> ColourConversion:
    """What has to be done to the samples of a JPEG, PNG or WebP: by its own colour profile, else by its EXIF."""
    colour: StoredColour = header.colour
    if colour is UNSTATED and header.exif and exif.is_adobe_rgb(header.exif):
        colour = ADOBE_RGB
    return plan_conversion(colour, header.channels, "uint16" if header.bit_depth == 16 else "uint8", keep=keep)


def to_picture(
    samples: Samples, window: Window | None, decoder: str, orientation: int, conversions: tuple[str, ...] = ()
) -> Picture:
    """Unsigned 8 and 16-bit samples stay as they are; others become positions in the window.

    Raises MediaUnreadable for others if there is no window, and for floats without a number.
    """
    if (samples.ndim, samples.dtype.type) in ARRAY_FORMATS:
        toned_gray = window is not None and samples.ndim == 2 and samples.dtype == np.uint16
        frame = (as_frame_view if toned_gray else to_frame)(samples)
        return Picture(frame, decoder, orientation, conversions=conversions)
    if samples.dtype.kind == "f" and not has_number(samples):
        raise MediaUnreadable(f"none of its {samples.dtype} samples is a number (all are NaN or infinite)")
    if window is None:
        raise MediaUnreadable(
            f"{samples.dtype} samples need a tone window, and the scan has measured no number to make one from: "
            "request tone with mode fixed, low and high"
        )
    frame, positions = empty_frame(samples)
    window.map_into(samples, positions)
    return Picture(frame, decoder, orientation, window.count_clipped(samples), samples, conversions)


def _open_codec(codec: str) -> VideoCodecContext:
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1
    context.options = dict(_CODEC_OPTIONS.get(codec, _STRICT_OPTIONS))
    return context


def _require_end_marker(data: bytes, header: ImageHeader) -> None:
    """FFmpeg conceals what a truncated file lacks, so look for the end marker.

    Within a scan FF D9 can only be the end of the image. The search starts from the end of the file, where it usually
    is.
    """
    if header.format == "jpeg" and data.rfind(b"\xff\xd9", header.data_offset) < 0:
        raise MediaUnreadable("the JPEG is truncated: it has no end-of-image marker")
    if header.format == "png" and data.rfind(b"IEND") < 0:
        raise MediaUnreadable("the PNG is truncated: it has no end chunk")
    if header.format == "webp":
        require_complete_webp(data)


def _require_intact(frames: list[VideoFrame], header: ImageHeader) -> VideoFrame:
    if not frames:
        raise MediaUnreadable(f"the {_format_name(header)} holds no picture")
    frame = frames[0]
    if frame.is_corrupt:
        raise MediaUnreadable(f"the {_format_name(header)} is damaged: parts of the picture are lost")
    if (frame.width, frame.height) != (header.width, header.height):
        raise MediaUnreadable(f"the {_format_name(header)} is not the size its header says")
    return frame


def _format_name(header: ImageHeader) -> str:
    return "WebP" if header.format == "webp" else header.format.upper()
