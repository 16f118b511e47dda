"""Synthetic media: frames whose number can be read back from their pixels, damaged variants, small videos."""

import io
import struct
import zlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
from PIL import Image

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
_BITS = 8
_LOW, _HIGH = 40, 210


def numbered_picture(number: int, width: int = 128, height: int = 96) -> Pixels:
    """(height, width, 3) RGB: eight columns, bright or dark, are the bits of `number`, lowest first."""
    bits = [_HIGH if number >> bit & 1 else _LOW for bit in range(_BITS)]
    row = np.repeat(np.array(bits, np.uint8), -(-width // _BITS))[:width]
    return np.repeat(np.repeat(row[None, :, None], height, axis=0), 3, axis=2)


def read_number(pixels: Pixels) -> int:
    """The number drawn by `numbered_picture`, from RGB or gray pixels of any size."""
    middle = pixels[pixels.shape[0] // 2].reshape(pixels.shape[1], -1)[:, 0]
    width = len(middle)
    centres = [int(middle[(2 * bit + 1) * width // (2 * _BITS)]) for bit in range(_BITS)]
    return sum((level > (_LOW + _HIGH) // 2) << bit for bit, level in enumerate(centres))


def flat_picture(colour: tuple[int, int, int], width: int = 64, height: int = 48) -> Pixels:
    return np.full((height, width, 3), colour, np.uint8)


def jpeg(pixels: Pixels, quality: int = 95, subsampling: str = "4:2:0", **options: Any) -> bytes:
    return _encode_picture(pixels, "JPEG", quality=quality, subsampling=subsampling, **options)


def png(pixels: Pixels, **options: Any) -> bytes:
    return _encode_picture(pixels, "PNG", **options)


def png16(pixels: Pixels) -> bytes:
    """The same picture with 16 bits per sample (each level times 257)."""
    import imagecodecs

    return bytes(imagecodecs.png_encode(pixels.astype(np.uint16) * 257))


def cmyk_jpeg(pixels: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(out, "JPEG")
    return out.getvalue()


def twelve_bit_jpeg() -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpeg_encode(np.full((32, 32), 2000, np.uint16), bitspersample=12))


def cmyk_tiff(pixels: Pixels) -> bytes:
    return tiff(np.asarray(Image.fromarray(pixels).convert("CMYK")), photometric="separated")


def lab_tiff(pixels: Pixels) -> bytes:
    return tiff(pixels, photometric="cielab")


def tiff(pixels: "np.ndarray[Any, Any]", **options: Any) -> bytes:
    """Options are tifffile's: compression="deflate", tile=(32, 32), photometric=..."""
    import tifffile

    out = io.BytesIO()
    options.setdefault("photometric", "rgb" if pixels.ndim == 3 else "minisblack")
    tifffile.imwrite(out, pixels, **options)
    return out.getvalue()


def oriented_jpeg(upright: Pixels, orientation: int, taken: str | None = None) -> bytes:
    """A JPEG whose pixels are rotated and whose EXIF orientation corrects it."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL.Image.Transpose members
    image = Image.fromarray(upright)
    stored = image.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    if taken:
        exif.get_ifd(0x8769).update({0x9003: taken, 0x9291: "25", 0x9011: "+02:00"})
    out = io.BytesIO()
    stored.save(out, "JPEG", quality=95, subsampling="4:2:0", exif=exif)
    return out.getvalue()


def truncate(data: bytes, keep: float = 0.6) -> bytes:
    return data[: int(len(data) * keep)]


def remove_bytes(data: bytes, start: float = 0.5, count: int = 200) -> bytes:
    """Remove `count` bytes in the middle: the end marker is present, the picture is damaged."""
    cut = int(len(data) * start)
    return data[:cut] + data[cut + count :]


def png_bomb(side: int = 30_000) -> bytes:
    """A few kilobytes that would decode to `side` x `side` pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000), 9)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_png_chunk, *zip(*chunks, strict=True)))


def tiff_bomb(side: int = 30_000) -> bytes:
    """A TIFF directory that claims `side` x `side` gray pixels."""
    fields = [(256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 200), (277, 1), (278, side), (279, 100)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(fields)) + entries + bytes(300)


def video(pictures: Iterable[Pixels], fps: Fraction = Fraction(25), codec: str = "libx264", **tags: int) -> bytes:
    """A small MP4 of RGB pictures with B-frames and a key frame every 12 frames; `tags` are colour code points."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream(
            codec,
            fps,
            {
                "crf": "18",
                "g": "12",
                "sc_threshold": "0",
                "x265-params": "log-level=none:pools=1:frame-threads=1:scenecut=0",
            },
        )
        stream.pix_fmt = "yuv420p"
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for pixels in pictures:
            if not stream.codec_context.is_open:
                stream.height, stream.width = pixels.shape[:2]
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            matrix = 1 if tags.get("colorspace") == 1 else 5
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range=1)))
        container.mux(stream.encode(None))
    return out.getvalue()


def boxes(data: bytes) -> Sequence[str]:
    """The names of an MP4's top-level boxes, in file order."""
    names, position = [], 0
    while position < len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        names.append(name.decode("latin1"))
        position += size
    return names


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _encode_picture(pixels: Pixels, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def noise_video(pictures: int) -> bytes:
    """An MP4 of noise, so that it is larger than a few blocks; the index is at the end."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mjpeg", rate=25, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = 1024, 768, "yuvj420p"
        noise = np.random.default_rng(1)
        for _ in range(pictures):
            frame = av.VideoFrame.from_ndarray(noise.integers(0, 256, (768, 1024, 3), np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()
