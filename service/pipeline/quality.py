"""The one quality scale (0 to 100, 70 is the default) on each encoder's own: equal quality lands on equal SSIM.

x264's crf falls by 0.4 a step, from 51 to 11; the others are fitted to it by
`python -m benchmarks quality`: see docs/quality.md.
"""

from service.plan.formats import Codec

_STEP = 10
_ENCODER_QUALITIES: dict[Codec, tuple[float, ...]] = {
    "h264": (51, 47, 43, 39, 35, 31, 27, 23, 19, 15, 11),
    "hevc": (47.7, 46.1, 42.0, 36.7, 32.3, 27.8, 23.6, 19.7, 15.4, 10.6, 6.4),
    "av1": (63, 63, 63, 63, 60.7, 57.1, 49.7, 38.1, 25.8, 8.7, 3.4),
    "mjpeg": (1, 3.4, 6.1, 10.6, 19.7, 31.7, 54.9, 74.4, 85.9, 93.2, 96.4),
    "ffv1": (0,) * 11,
}
"""At quality 0, 10, …, 100, and linear in between: a crf; for mjpeg libjpeg's quality; ffv1 loses nothing."""


def encoder_quality(codec: Codec, quality: int) -> int:
    """The encoder's own measure of this quality, monotonic in it. Raises ValueError outside 0..100."""
    if not 0 <= quality <= 100:
        raise ValueError(f"quality {quality} is outside 0 to 100")
    place, beyond = divmod(quality, _STEP)
    rates = _ENCODER_QUALITIES[codec]
    if not beyond:
        return round(rates[place])
    return round(rates[place] + (rates[place + 1] - rates[place]) * beyond / _STEP)
