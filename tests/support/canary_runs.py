"""A canary in this process: its work, as a slot would do it."""

import importlib

from service.devices.canary import Canary


def run_canary(canary: Canary) -> float:
    """Megapixels a second. Raises what a child process would tell."""
    module, _, name = canary.entry_point.partition(":")
    rate: float = getattr(importlib.import_module(module), name)(canary.device)
    return rate
