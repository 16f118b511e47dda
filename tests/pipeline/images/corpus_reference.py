"""What an image should show, read by Pillow: upright, in sRGB, over black. Tables and formulae of JPEG and ICC."""

import io
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageOps

Array = np.ndarray[Any, Any]
_SRGB = ImageCms.createProfile("sRGB")
# Modes of samples that have no colours until a window maps them.
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


class Expected(NamedTuple):
    """Either `rgb`, (height, width, 3) of 8 bits, or `samples`, (height, width) as stored."""

    rgb: Array | None = None
    samples: Array | None = None


def read(data: bytes) -> Expected:
    """Raises what Pillow raises for an image that it cannot read."""
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        if image.mode in _DEEP_MODES and "transparency" not in image.info:
            return Expected(samples=np.asarray(image))
        # Pillow turns TIFFs when it loads them.
        upright = image if image.format == "TIFF" else ImageOps.exif_transpose(image)
        return Expected(rgb=np.asarray(_over_black(upright, image.info.get("icc_profile"))))


def _over_black(image: Image.Image, profile: bytes | None) -> Image.Image:
    transparent = "transparency" in image.info or image.mode in ("PA", "LA", "La", "RGBa", "RGBA")
    shown = image.convert("RGBA") if transparent or image.mode == "P" else image
    alpha = shown.getchannel("A") if shown.mode == "RGBA" else None
    colours = _to_srgb(shown if shown.mode in ("L", "RGB", "CMYK") else shown.convert("RGB"), profile)
    if alpha is None:
        return colours
    ground = Image.new("RGB", image.size)
    ground.paste(colours, mask=alpha)
    return ground


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Relative colorimetric. A profile that is damaged or of another colour space says nothing."""
    if profile:
        try:
            parsed = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            space = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[parsed.profile.xcolor_space.strip()]
            gray_of_equal_channels = image.convert("L") if space == "L" else image
            return ImageCms.profileToProfile(
                gray_of_equal_channels, parsed, _SRGB, ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB"
            ) or image.convert("RGB")
        except (OSError, KeyError, ImageCms.PyCMSError):
            pass
    return image.convert("RGB")


def ycbcr_to_rgb(planes: list[Array], height: int, width: int, *, full_range: bool) -> Array:
    """RGB of BT.601 planes (T.871, or BT.601 of limited range), their chroma upsampled as libjpeg and libwebp do."""
    luma = planes[0].astype(np.float64)
    cb, cr = (_upsample(plane, height, width)[:height, :width] - 128.0 for plane in planes[1:])
    if not full_range:
        luma, cb, cr = (luma - 16) * 255 / 219, cb * 255 / 224, cr * 255 / 224
    rgb = np.dstack([luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb])
    return rgb.round().clip(0, 255).astype(np.uint8)


def _upsample(plane: Array, height: int, width: int) -> Array:
    """By the nearest two samples, 3 to 1, in each direction; libjpeg repeats those of planes one or two samples wide."""
    across, down = plane.shape[1] < width, plane.shape[0] < height
    samples = plane.astype(np.int64)
    if plane.shape[1] <= 2:
        return np.kron(samples, np.ones((1 + down, 1 + across), np.int64))
    if not across:
        return samples
    if not down:
        return _double(samples.T, 1, 2, 2).T
    return _double(_double(samples, 0, 0, 0).T, 8, 7, 4).T


def _double(rows: Array, first: int, second: int, shift: int) -> Array:
    """Twice the rows, as integers: `first` and `second` are what libjpeg adds before it shifts (jdsample.c)."""
    before, after = np.vstack([rows[:1], rows[:-1]]), np.vstack([rows[1:], rows[-1:]])
    doubled = np.empty((2 * len(rows), rows.shape[1]), np.int64)
    doubled[0::2], doubled[1::2] = 3 * rows + before + first, 3 * rows + after + second
    return doubled >> shift
