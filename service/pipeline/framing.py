"""Which part of a picture is shown and which way up: before scaling, so that no pixel is touched that is not shown."""

from dataclasses import replace

from service.pipeline.crop import crop_frame
from service.pipeline.picture import Picture
from service.pipeline.turn import ORIENTATION_BY_DEGREES, compose_orientations, to_stored_box
from service.plan.geometry import Crop
from service.plan.render_plan import RenderOptions


class CropAndRotation:
    """Crops in the stored picture and folds the rotation into the picture's own orientation: one turn does both."""

    def __init__(self, options: RenderOptions) -> None:
        self._crop: Crop | None = options.crop
        self._rotation = ORIENTATION_BY_DEGREES[options.rotate]

    def output_size(self, picture: Picture) -> tuple[int, int]:
        """(width, height) of what `apply` would give, as shown."""
        width, height = picture.size
        if self._crop:
            left, top, right, bottom = self._crop.within(width, height)
            width, height = right - left, bottom - top
        return (height, width) if self._rotation >= 5 else (width, height)

    def apply(self, picture: Picture) -> Picture:
        frame = picture.frame
        if self._crop:
            box = to_stored_box(self._crop.within(*picture.size), picture.size, picture.orientation)
            frame = crop_frame(frame, box)
        return replace(picture, frame=frame, orientation=compose_orientations(picture.orientation, self._rotation))
