"""The sizes of pictures whose stored pixels have another shape than those of the output."""

from dataclasses import replace
from fractions import Fraction

from service.pipeline.orientation import swaps_sides
from service.pipeline.picture import Picture
from service.plan.geometry import square_size
from service.plan.render_plan import RenderOptions


class OutputPixels:
    """Expresses the sizes of pictures in pixels of the output, so that they keep their shape when they are scaled."""

    def __init__(self, options: RenderOptions) -> None:
        aspect = options.pixel_aspect
        self.are_square = aspect == 1
        # Width to height before the rotation; None if sources are shown as stored.
        self._aspect = 1 / aspect if aspect and options.rotate in (90, 270) else aspect

    def apply(self, picture: Picture) -> Picture:
        """The picture with the `shown_size` that it has in pixels of the output."""
        if self._aspect == 1:
            return picture
        if self._aspect is None or self._aspect == _upright_aspect(picture):
            return replace(picture, pixel_aspect=None, shown_size=None)
        width, height = picture.size
        return replace(picture, shown_size=(max(1, round(width / self._aspect)), height))

    def describe(self, picture: Picture) -> tuple[str, ...]:
        """What is done to stored pixels that are not square."""
        stored = (picture.frame.width, picture.frame.height)
        aspect = picture.pixel_aspect or Fraction(1)
        pixels, before = f"pixels of {aspect.numerator}:{aspect.denominator}", f"{stored[0]}x{stored[1]}"
        after = "x".join(map(str, square_size(stored, aspect)))
        if self._aspect is None:
            return (f"{pixels} shown as stored: the last scan did not note their shape, scan the dataset again",)
        if self._aspect == _upright_aspect(picture):
            return (f"{pixels} kept: {before}, which players show as {after}",)
        return (f"{pixels} shown square: {before} as {after}",)


def _upright_aspect(picture: Picture) -> Fraction:
    """Width to height of a stored pixel after orientation."""
    aspect = picture.pixel_aspect or Fraction(1)
    return 1 / aspect if swaps_sides(picture.orientation) else aspect
