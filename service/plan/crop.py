"""A part of the picture, in pixels of the size that the dataset's frames usually have."""

from dataclasses import dataclass

from service.errors import invalid_field


@dataclass(frozen=True, slots=True)
class Crop:
    """`x`, `y` is the upper left corner of the part, in pixels of an upright frame of `of_width` x `of_height`.

    A frame of another size is cropped to the same share of its sides, so that the part shows the same scene.
    """

    x: int
    y: int
    width: int
    height: int
    of_width: int
    of_height: int

    def within(self, width: int, height: int) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) in pixels of an upright frame of this size; never empty, never outside."""
        left, right = _span(self.x, self.width, self.of_width, width)
        top, bottom = _span(self.y, self.height, self.of_height, height)
        return left, top, right, bottom


def _span(start: int, length: int, of: int, side: int) -> tuple[int, int]:
    low = min((2 * start * side + of) // (2 * of), side - 1)
    high = (2 * (start + length) * side + of) // (2 * of)
    return low, max(low + 1, high)


def crop_of(source: tuple[int, int], corner: tuple[int, int], size: tuple[int, int]) -> Crop | None:
    """None for the whole picture. Raises Invalid with a pointer to the side that reaches outside."""
    for name, start, length, side in zip(("width", "height"), corner, size, source, strict=True):
        if start + length > side:
            detail = f"the crop reaches to pixel {start + length}, but the frames are {source[0]}x{source[1]}"
            raise invalid_field(f"#/crop/{name}", detail, "outside")
    return None if size == source else Crop(*corner, *size, *source)


def shown_size(source: tuple[int, int], crop: Crop | None, rotate: int) -> tuple[int, int]:
    """(width, height) of what is left of a source frame after the crop and then the rotation (degrees)."""
    width, height = (crop.width, crop.height) if crop else source
    return (height, width) if rotate in (90, 270) else (width, height)
