"""The tables of docs/quality.md, generated from the mapping: `python -m tests.documentation.quality` prints them."""

from typing import get_args

from service.pipeline.encode.codecs import encoder_quality
from service.plan.formats import EFFORTS, Codec, Effort

CODECS: tuple[Codec, ...] = tuple(codec for codec in get_args(Codec) if codec != "ffv1")
# mjpeg makes the same picture at every effort.
OTHER_EFFORTS: tuple[tuple[Codec, Effort], ...] = tuple(
    (codec, effort) for codec in CODECS for effort in EFFORTS[codec] if effort != "balanced" and codec != "mjpeg"
)


def quality_table() -> str:
    return _table({codec: (codec, "balanced") for codec in CODECS})


def effort_table() -> str:
    return _table({f"{codec} {effort}": (codec, effort) for codec, effort in OTHER_EFFORTS})


def _table(columns: dict[str, tuple[Codec, Effort]]) -> str:
    head = ["| quality | " + " | ".join(columns) + " |", "| ---: |" + " ---: |" * len(columns)]
    rows = [
        f"| {quality} | "
        + " | ".join(str(encoder_quality(codec, quality, effort)) for codec, effort in columns.values())
        + " |"
        for quality in range(0, 101, 10)
    ]
    return "\n".join(head + rows)


if __name__ == "__main__":
    print(quality_table(), effort_table(), sep="\n\n")
