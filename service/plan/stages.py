"""Which stage runs where, and why: told in the 202 and on the job."""

from service.plan.containers import Codec
from service.plan.render_plan import RenderOptions

Stages = dict[str, dict[str, str]]

ENCODERS: dict[Codec, str] = {
    "h264": "libx264 veryfast",
    "av1": "libsvtav1 preset 10",
    "hevc": "libx265 ultrafast",
    "mjpeg": "JPEGs copied as they are where they fit, else libjpeg-turbo",
    "ffv1": "ffv1 level 3, lossless",
}


def stage_plan(options: RenderOptions) -> Stages:
    """The device and the reason of every stage of a CPU render."""
    why = "no CUDA device is proven on a live worker"
    return {
        "fetch": {"device": "cpu", "reason": "objects are read ahead of the decoder"},
        "decode": {"device": "cpu", "reason": why},
        "transform": {"device": "cpu", "reason": "scale, range and format in one pass"},
        "encode": {"device": "cpu", "reason": f"{ENCODERS[options.codec]}, one thread a slot; {why}"},
    }
