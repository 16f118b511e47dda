"""The canaries of the CPU pass here, and would not if the pictures were others."""

import importlib
import inspect

import numpy as np
import pytest

from service.devices.canary import Canary, Unsupported, WrongOutput
from service.worker.devices import canary_pictures as known
from service.worker.devices.canaries import CUDA_CAPABILITIES, canaries_for
from tests.support.doubles.canaries import run_canary

CPU_CANARIES = canaries_for("cpu")


@pytest.mark.parametrize("canary", CPU_CANARIES, ids=lambda canary: f"{canary.stage}-{canary.what}")
def test_a_canary_of_the_cpu_passes(canary: Canary) -> None:
    assert run_canary(canary) > 0


@pytest.mark.parametrize("canary", CPU_CANARIES, ids=lambda canary: f"{canary.stage}-{canary.what}")
def test_it_compares_with_what_is_known(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture is known as the next one: what comes out right is wrong now."""
    picture, luma, deep, shift = known.picture, known.luma, known.deep_picture, [0]

    def coded(original: object) -> object:
        return lambda pixels: shift.__setitem__(0, 1) or original(pixels)  # type: ignore[operator]

    for name in ("jpeg", "png", "tiff"):
        monkeypatch.setattr(known, name, coded(getattr(known, name)))
    monkeypatch.setattr(known, "picture", lambda number: picture(number + shift[0]))
    monkeypatch.setattr(known, "deep_picture", lambda number: deep(number + shift[0]))
    monkeypatch.setattr(known, "luma", lambda number: luma(number + 1))
    with pytest.raises(WrongOutput):
        run_canary(canary)


@pytest.mark.parametrize("canary", canaries_for("cuda:0"), ids=lambda canary: f"{canary.stage}-{canary.what}")
def test_the_table_names_functions_that_are_there(canary: Canary) -> None:
    module, _, name = canary.entry_point.partition(":")
    function = getattr(importlib.import_module(module), name)
    assert list(inspect.signature(function).parameters) == ["device"]
    assert (canary.stage, canary.what) in CUDA_CAPABILITIES


def test_pictures_differ_so_that_a_wrong_one_is_noticed() -> None:
    for number in range(5):
        with pytest.raises(WrongOutput, match="dB from the known picture"):
            known.require_similar(known.luma(number), known.luma(number + 1), 34)


def test_sizes_and_losses_are_noticed() -> None:
    with pytest.raises(WrongOutput, match="10x20 pixels instead of 20x10"):
        known.require_similar(np.zeros((20, 10)), np.zeros((10, 20)), 1)
    with pytest.raises(WrongOutput):
        known.require_equal(np.zeros((2, 2)), np.ones((2, 2)))


def test_a_cuda_device_that_cannot_be_opened_is_not_here() -> None:
    from service.worker.devices import cuda_canaries

    with pytest.raises(Unsupported):
        cuda_canaries.prepare("cuda:99")
