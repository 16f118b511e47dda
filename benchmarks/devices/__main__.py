"""`python -m benchmarks.devices`: compare CPU and GPU where only av, numpy, Pillow and torch are installed."""

import argparse
import sys
from pathlib import Path

from benchmarks.devices.cases import Request, Size
from service.pipeline.cuda.slot_device import DeviceConfig
from service.plan.placement import REAL_DRIVER

RESULTS = Path(__file__).parents[1] / "results"
EPILOG = "Exit codes: 0 measured, 1 the GPU's output differs from the CPU's, 2 usage."


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.devices", description=__doc__, epilog=EPILOG)
    parser.add_argument("--seconds", type=float, default=420, help="time limit of the whole run; the rest is skipped")
    parser.add_argument("--repetitions", type=int, default=5, help="warm repetitions of each measurement")
    parser.add_argument("--each", type=float, default=0.4, help="seconds per repetition of a stage")
    parser.add_argument("--workers", type=int, default=0, help="processes for CPU stages and renders; 0: one per core")
    parser.add_argument("--frames", type=int, default=60, help="frames per process in renders")
    parser.add_argument("--size", type=parse_size, default=(1920, 1080), help="WIDTHxHEIGHT, multiples of 8")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--driver", default=REAL_DRIVER, help="module that opens the device")
    parser.add_argument("--commit", help="commit to record if this is not a checkout")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for rows, table and chart")
    return run(parser.parse_args(words))


def run(arguments: argparse.Namespace) -> int:
    from benchmarks.devices.comparison import measure

    request = Request(
        results=arguments.results,
        seconds=arguments.seconds,
        repetitions=arguments.repetitions,
        each=arguments.each,
        workers=arguments.workers,
        frames=arguments.frames,
        base=arguments.size,
        device=DeviceConfig(arguments.device, driver_module=arguments.driver),
        commit=arguments.commit,
    )
    return measure(request)


def parse_size(text: str) -> Size:
    """Parse `WIDTHxHEIGHT`. Raises ValueError, which argparse reports as a usage error."""
    width, height = map(int, text.split("x"))
    if min(width, height) < 64 or width % 8 or height % 8:
        raise ValueError
    return width, height


if __name__ == "__main__":
    sys.exit(main())
