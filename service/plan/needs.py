"""What tasks need and workers offer, by which tasks are routed: operations such as `encode h264`.

`encode CODEC` and `decode FORMAT` are done by the CPU, `nvenc CODEC` by a GPU, `preview KIND` and `grid` by a version
that knows these. Nothing else has to be routed: where a GPU only decodes and transforms, the CPU makes the same
picture.
"""

from collections.abc import Collection, Iterable
from typing import get_args

from service.plan.capability import CPU, Capability
from service.plan.formats import Codec
from service.plan.render_plan import RenderOptions

# The formats whose decoders of the CPU are tested. A task with another one is tried anywhere.
TESTED_FORMATS = ("jpeg", "png", "tiff", "h264", "hevc")
GRID = "grid"
NEEDS_OF_OPTIONS = (GRID,)
# What this version can do on the CPU of any machine, unless a self-test has shown otherwise.
BUILT_IN = frozenset(
    [f"encode {codec}" for codec in get_args(Codec)]
    + [f"decode {name}" for name in TESTED_FORMATS]
    + ["preview rendered", "preview output", "preview samples", "preview array", "preview sheet", GRID]
)
GPU_ENCODER, CPU_ENCODER = "nvenc", "encode"


def needs_of_segments(options: RenderOptions, formats: Iterable[str]) -> list[str]:
    """What a worker must offer to render segments with these options from files of these formats."""
    return sorted({encoder_need(options), *needs_of_formats(formats), *needs_of_options(options)})


def needs_of_options(options: RenderOptions) -> list[str]:
    """What a worker must know, which earlier versions do not."""
    return [GRID] if options.grid else []


def needs_of_formats(formats: Iterable[str]) -> list[str]:
    """What a worker must offer to decode files of these formats."""
    return sorted(f"decode {name}" for name in set(formats) & set(TESTED_FORMATS))


def needs_of_preview(picture: str, formats: Iterable[str]) -> list[str]:
    """What a worker must offer to make a picture of this kind. Earlier versions make those of source frames only."""
    own = {f"preview {picture}"} & BUILT_IN
    return sorted({*own, *needs_of_formats(formats)})


def encoder_need(options: RenderOptions) -> str:
    return f"{CPU_ENCODER if options.family.encoder == 'cpu' else GPU_ENCODER} {options.codec}"


def offers_of(capabilities: Collection[Capability], gpus: Collection[str]) -> frozenset[str]:
    """What a slot offers that may use these GPUs ("cuda:0"). What was not tested yet counts as working."""
    broken = {f"{one.stage} {one.what}" for one in capabilities if one.device == CPU and not _may_work(one)}
    encoders = {
        f"{GPU_ENCODER} {one.what}"
        for one in capabilities
        if one.device in gpus and one.stage == "encode" and _may_work(one)
    }
    return (BUILT_IN - broken) | encoders


def _may_work(capability: Capability) -> bool:
    return capability.state not in ("quarantined", "absent")
