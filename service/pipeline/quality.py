"""The one quality scale (0 to 100, 70 is the default) on each encoder's own: equal quality lands on equal SSIM."""

from service.plan.render_plan import Codec

_LOWEST_QUALITY_CRF: dict[Codec, int] = {"h264": 51, "av1": 63}


def crf(codec: Codec, quality: int) -> int:
    """Constant rate factor: h264 70 -> 23, av1 70 -> 35. Never rises with quality. Raises ValueError outside 0..100."""
    if not 0 <= quality <= 100:
        raise ValueError(f"quality {quality} is outside 0 to 100")
    return round(_LOWEST_QUALITY_CRF[codec] - 0.4 * quality)
