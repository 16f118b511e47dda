"""The pieces of all segments -> one sprite of tiles, and WebVTT that says which tile belongs to which time."""

import io
from dataclasses import dataclass
from fractions import Fraction

from PIL import Image

from service.plan.formats import ARTIFACT_FILES

SPRITE_COLUMNS, MAX_TILES = 10, 200


@dataclass(frozen=True, slots=True)
class _Tile:
    piece: bytes
    position: int
    start: Fraction


class PreviewStrip:
    """Holds the pieces as they are (a few kilobytes each); only tiles that are used are decoded."""

    def __init__(self, tile: tuple[int, int]) -> None:
        self._size = tile
        self._tiles: list[_Tile] = []

    def add(self, piece: bytes, start: Fraction) -> None:
        """A segment's piece; the segment begins at `start` seconds."""
        with Image.open(io.BytesIO(piece)) as strip:
            times = bytes(strip.info["comment"]).decode().split(",")
        self._tiles += [_Tile(piece, place, start + Fraction(int(time), 1000)) for place, time in enumerate(times)]

    def finish(self, end: Fraction) -> tuple[bytes, bytes]:
        """(JPEG of at most MOST_TILES tiles, WebVTT over the whole length)."""
        used = self._tiles[:: -(-len(self._tiles) // MAX_TILES)]
        return self._sprite(used), self._cues(used, end)

    def _sprite(self, used: list[_Tile]) -> bytes:
        width, height = self._size
        sheet = Image.new("RGB", (width * min(SPRITE_COLUMNS, len(used)), height * -(-len(used) // SPRITE_COLUMNS)))
        for number, tile in enumerate(used):
            with Image.open(io.BytesIO(tile.piece)) as strip:
                cut = strip.crop((tile.position * width, 0, (tile.position + 1) * width, height))
                sheet.paste(cut, self._tile_corner(number))
        out = io.BytesIO()
        sheet.save(out, "JPEG", quality=85)
        return out.getvalue()

    def _tile_corner(self, number: int) -> tuple[int, int]:
        return number % SPRITE_COLUMNS * self._size[0], number // SPRITE_COLUMNS * self._size[1]

    def _cues(self, used: list[_Tile], end: Fraction) -> bytes:
        ends = [tile.start for tile in used[1:]] + [end]
        lines = ["WEBVTT"]
        for number, (tile, until) in enumerate(zip(used, ends, strict=True)):
            left, top = self._tile_corner(number)
            area = f"{left},{top},{self._size[0]},{self._size[1]}"
            lines += [
                "",
                f"{_webvtt_time(tile.start)} --> {_webvtt_time(until)}",
                f"{ARTIFACT_FILES['preview_strip']}#xywh={area}",
            ]
        return ("\n".join(lines) + "\n").encode()


def _webvtt_time(seconds: Fraction) -> str:
    """WebVTT's hh:mm:ss.ttt"""
    millis = round(seconds * 1000)
    return f"{millis // 3_600_000:02d}:{millis // 60_000 % 60:02d}:{millis // 1000 % 60:02d}.{millis % 1000:03d}"
