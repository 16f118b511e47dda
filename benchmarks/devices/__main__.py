"""`python -m benchmarks.devices`: as `python -m benchmarks devices`, where only av, numpy, Pillow and torch are."""

import argparse
import sys
from pathlib import Path

from benchmarks.devices.cases import Request, Size
from service.pipeline.cuda.slot_device import DeviceConfig
from service.plan.placement import REAL_DRIVER

RESULTS = Path(__file__).parents[1] / "results"
EPILOG = "Exit codes: 0 measured, 1 a GPU shows something else than the CPU, 2 usage."


def main(words: list[str] | None = None) -> int:
    known = argparse.ArgumentParser("python -m benchmarks.devices", description=__doc__, epilog=EPILOG)
    known.add_argument("--seconds", type=float, default=420, help="for everything; what is left then is skipped")
    known.add_argument("--repetitions", type=int, default=5, help="warm ones of each figure")
    known.add_argument("--each", type=float, default=0.4, help="seconds of a repetition of a stage")
    known.add_argument("--workers", type=int, default=0, help="processes of the CPU and of renders; 0: one per core")
    known.add_argument("--frames", type=int, default=60, help="of each process's segment in renders")
    known.add_argument("--size", type=parse_size, default=(1920, 1080), help="WIDTHxHEIGHT, multiples of 8")
    known.add_argument("--device", default="cuda:0")
    known.add_argument("--driver", default=REAL_DRIVER, help="the module that opens the device")
    known.add_argument("--commit", help="what is measured, where there is no checkout")
    known.add_argument("--results", type=Path, default=RESULTS, help="folder for rows, table and chart")
    return run(known.parse_args(words))


def run(arguments: argparse.Namespace) -> int:
    from benchmarks.devices.comparison import measure

    limits = {"seconds": arguments.seconds, "repetitions": arguments.repetitions, "each": arguments.each}
    device = DeviceConfig(arguments.device, driver_module=arguments.driver)
    shown = {
        "workers": arguments.workers,
        "frames": arguments.frames,
        "base": arguments.size,
        "commit": arguments.commit,
    }
    return measure(Request(arguments.results, device=device, **limits, **shown))


def parse_size(text: str) -> Size:
    """Raises ValueError, which is a usage error."""
    width, height = map(int, text.split("x"))
    if min(width, height) < 64 or width % 8 or height % 8:
        raise ValueError
    return width, height


if __name__ == "__main__":
    sys.exit(main())
