"""Which implementations make a render's pictures and bytes: what may differ between a CPU and a GPU.

A segment's content key names it, so what the CPU made is never mixed with what a GPU made, in a cache or in a file.
"""

from dataclasses import dataclass
from typing import Literal

Pixels = Literal["cpu", "cuda"]
Encoder = Literal["cpu", "nvenc"]


@dataclass(frozen=True, slots=True)
class PathFamily:
    """`pixels` decodes and transforms, `encoder` encodes. A frame that falls back to the CPU stays in the family of its
    render; an encoder never does: see `service.store.replan`."""

    pixels: Pixels = "cpu"
    encoder: Encoder = "cpu"


CPU_ONLY = PathFamily()
