"""Colours of source videos and of a render, as H.273 code points, and what a render does with HDR."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from service.errors import invalid_field
from service.plan.formats import Codec

# Rec. ITU-T H.273: values that matrix, primaries and transfer have in common, and those of one of them.
UNSPECIFIED = 2
BT709, BT470BG, SMPTE170M, BT2020 = 1, 5, 6, 9
LINEAR, LOG, LOG_SQRT, SRGB_TRANSFER, SMPTE2084, SMPTE428, ARIB_STD_B67 = 8, 9, 10, 13, 16, 17, 18
HDR_TRANSFERS: dict[int, str] = {SMPTE2084: "PQ", ARIB_STD_B67: "HLG"}

_WRITTEN_MATRICES = frozenset((BT709, 4, BT470BG, SMPTE170M, 7, BT2020))

Hdr = Literal["keep", "sdr"]


@dataclass(frozen=True, slots=True)
class Colour:
    """H.273 code points of YCbCr or RGB samples; none is unspecified."""

    matrix: int
    primaries: int
    transfer: int

    @property
    def is_hdr(self) -> bool:
        return self.transfer in HDR_TRANSFERS

    def writable(self) -> "Colour":
        """With a matrix that encoders write and players know."""
        if self.matrix in _WRITTEN_MATRICES:
            return self
        return Colour(BT2020 if self.primaries == BT2020 else BT709, self.primaries, self.transfer)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Colour":
        """From a value of the column `sources.colour`, or of RenderOptions."""
        return Colour(document["matrix"], document["primaries"], document["transfer"])


# Of renders that show HDR as SDR: every player shows it alike.
SDR_COLOUR = Colour(BT709, BT709, BT709)
# A JPEG says nothing of its colours: they are sRGB in the matrix of BT.601.
JPEG_COLOUR = Colour(SMPTE170M, BT709, SRGB_TRANSFER)


def choose_colour(codec: Codec, hdr: Hdr | None, sources: Sequence[Colour]) -> Colour | None:
    """The colour of all segments of a render of source videos; `sources` are their colours, in the dataset's order.

    None if the sources' colours are not known. The first source decides; HDR beside SDR becomes SDR unless `hdr` is
    keep, which then takes the first HDR source's. Raises InvalidRequest for mjpeg that should keep HDR.
    """
    if codec == "mjpeg":
        if hdr == "keep":
            detail = "a JPEG cannot say that it is HDR: leave hdr out, which shows it as SDR, or choose another codec"
            raise invalid_field("#/hdr", detail, "no_hdr")
        return JPEG_COLOUR
    if not sources:
        return None
    transfers = {source.transfer if source.is_hdr else BT709 for source in sources}
    if transfers == {BT709}:
        return sources[0].writable()
    if hdr == "sdr" or (hdr is None and len(transfers) > 1):
        return SDR_COLOUR
    return next(source for source in sources if source.is_hdr).writable()
