"""The table of docs/quality.md, generated from the mapping: `python -m tests.documentation.quality` prints it."""

from typing import get_args

from service.pipeline.encode.codecs import encoder_quality
from service.plan.formats import Codec

CODECS = tuple(codec for codec in get_args(Codec) if codec != "ffv1")


def quality_table() -> str:
    head = ["| quality | " + " | ".join(CODECS) + " |", "| ---: |" + " ---: |" * len(CODECS)]
    rows = [
        f"| {quality} | " + " | ".join(str(encoder_quality(codec, quality)) for codec in CODECS) + " |"
        for quality in range(0, 101, 10)
    ]
    return "\n".join(head + rows)


if __name__ == "__main__":
    print(quality_table())
