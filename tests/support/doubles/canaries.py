"""Canaries in real processes that behave as the file named by `CANARY_ORDERS` says."""

import importlib
import os
import signal
import time
from pathlib import Path

import numpy as np

from service.devices.canary import Canary, DeviceUnusable, Unsupported
from service.devices.device import Device
from service.worker.devices.canaries import DeviceSource

ORDERS_VARIABLE = "CANARY_ORDERS"
MODULE = "tests.support.doubles.canaries"
GPU = "cuda:0"


def device_source() -> DeviceSource:
    """A GPU that the driver lists, with two capabilities."""
    return DeviceSource((lambda: [Device(GPU, "gpu", "ordered")],), canaries)


def canaries(device: str) -> tuple[Canary, ...]:
    return Canary(device, "decode", "jpeg", f"{MODULE}:ordered"), Canary(device, "transform", "nv12", f"{MODULE}:sound")


def ordered(_device: str) -> float:
    orders = Path(os.environ[ORDERS_VARIABLE]).read_text()
    if orders == "hang":
        time.sleep(600)
    if orders == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if orders == "exit":
        os._exit(3)
    if orders == "noise":
        os.write(1, b"a library talks\n")
        print("and a program")
    faults = {
        "absent": Unsupported("no such engine"),
        "broken": DeviceUnusable("context lost"),
        "memory": MemoryError("too little"),
    }
    if orders in faults:
        raise faults[orders]
    return _decode_and_compare(wrong=orders == "wrong")


def sound(_device: str) -> float:
    return 5.0


def _decode_and_compare(*, wrong: bool) -> float:
    """Decode a JPEG (a wrong one if ordered) and compare."""
    from service.pipeline.images.decoder import ImageDecoder
    from service.pipeline.images.header import DecodeOptions
    from service.worker.devices import canary_pictures as known

    frame = ImageDecoder(DecodeOptions(1 << 24)).decode(known.jpeg(known.picture(3 if wrong else 0))).frame
    known.require_similar(np.asarray(frame.to_ndarray(format="gray")), known.luma(0), 30)
    return 100.0


def run_canary(canary: Canary) -> float:
    """Megapixels per second. Raises what a child process would report."""
    module, _, name = canary.entry_point.partition(":")
    rate: float = getattr(importlib.import_module(module), name)(canary.device)
    return rate
