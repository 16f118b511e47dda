"""The one quality scale (0 to 100, 70 is the default) on each encoder's own: equal quality lands on equal SSIM."""

from service.plan.containers import Codec

_CRF_AT_0: dict[Codec, int] = {"h264": 51, "av1": 63, "hevc": 51}


def rate(codec: Codec, quality: int) -> int:
    """The encoder's own measure: a crf, libjpeg's quality for mjpeg, nothing (0) for ffv1, which loses none.

    Raises ValueError outside 0..100.
    """
    if not 0 <= quality <= 100:
        raise ValueError(f"quality {quality} is outside 0 to 100")
    if codec == "ffv1":
        return 0
    if codec == "mjpeg":
        return max(1, quality)
    return round(_CRF_AT_0[codec] - 0.4 * quality)
