"""What NVML reports becomes readings; what it does not report is unknown with its reason, never 0 or ""."""

import pynvml
import pytest

from service.devices.nvml import NvmlProbe, visible_indices
from tests.support.doubles.nvml_double import READINGS, Card, NvmlDouble

EVERYTHING = {
    "uuid": "GPU-a",
    "driver": "580.82.07",
    "cuda": "13.1",
    "compute_capability": "9.0",
    "utilisation_percent": 37,
    "memory_utilisation_percent": 12,
    "encoder_utilisation_percent": 0,
    "decoder_utilisation_percent": 81,
    "jpeg_utilisation_percent": 64,
    "sm_clock_mhz": 1755,
    "sm_clock_limit_mhz": 1980,
    "memory_clock_mhz": 3201,
    "video_clock_mhz": 1545,
    "power_watts": 412.5,
    "power_limit_watts": 700,
    "energy_joules": 9876.543,
    "temperature_celsius": 61,
    "throttle_reasons": [],
    "ecc_enabled": True,
    "ecc_corrected_errors": 0,
    "ecc_uncorrected_errors": 0,
    "memory_total_bytes": 141 << 30,
    "memory_used_bytes": 3 << 30,
    "memory_free_bytes": 138 << 30,
    "remapped_rows_corrected": 0,
    "remapped_rows_uncorrected": 0,
    "row_remap_pending": False,
    "row_remap_failed": False,
    "xids": [],
}


@pytest.fixture(autouse=True)
def _all_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_every_figure() -> None:
    (device,) = NvmlProbe(NvmlDouble(Card("GPU-a"))).read_devices()
    assert (device.name, device.kind, device.model) == ("cuda:0", "gpu", "NVIDIA H200")
    assert device.readings.values == EVERYTHING
    assert device.readings.unknown == {}
    assert (device.absent_reason, device.warning, device.fault) == (None, None, None)


@pytest.mark.parametrize("function", [*READINGS, "nvmlDeviceRegisterEvents"])
def test_a_figure_that_a_card_lacks_is_unknown(function: str) -> None:
    (device,) = NvmlProbe(NvmlDouble(Card("GPU-a", lacks={function}))).read_devices()
    lost = {name for name, value in device.readings.values.items() if value is None}
    if function == "nvmlDeviceGetName":
        assert device.model is None
    else:
        assert lost and set(device.readings.unknown) == lost
    assert set(device.readings.unknown.values()) <= {"Not Supported"}
    rest = {name: value for name, value in device.readings.values.items() if name not in lost}
    assert rest == {name: EVERYTHING[name] for name in rest}, "the others are reported"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "NVIDIA's driver is not installed: libnvidia-ml.so.1 was not found"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "NVIDIA's driver is installed and not loaded"),
        (
            pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
            "NVML does not start: RM has detected an NVML/RM version mismatch.",
        ),
    ],
)
def test_without_a_driver_there_is_one_absent_device(code: int, reason: str) -> None:
    (device,) = NvmlProbe(NvmlDouble(start=code)).read_devices()
    assert (device.name, device.absent_reason, device.readings.values) == ("cuda:0", reason, {})


def test_a_driver_without_devices() -> None:
    (device,) = NvmlProbe(NvmlDouble()).read_devices()
    assert device.absent_reason == "NVIDIA's driver is loaded and finds no device"


def test_a_driver_that_comes_later_is_found() -> None:
    double = NvmlDouble(Card("GPU-a"), start=pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
    nvml = NvmlProbe(double)
    assert nvml.read_devices()[0].absent_reason
    double.start = None
    assert nvml.read_devices()[0].absent_reason is None


def test_here_the_real_library_says_why_or_tells() -> None:
    """On a machine without a driver: the reason. With one: readings."""
    for device in NvmlProbe().read_devices():
        assert device.absent_reason or device.readings.values["memory_total_bytes"]
        assert device.absent_reason != ""


def test_only_what_cuda_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-a")
    devices = NvmlProbe(NvmlDouble(Card("GPU-a"), Card("GPU-b"), Card("GPU-c"))).read_devices()
    assert [(device.name, device.readings.values["uuid"]) for device in devices] == [
        ("cuda:0", "GPU-c"),
        ("cuda:1", "GPU-a"),
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (hidden,) = NvmlProbe(NvmlDouble(Card("GPU-a"))).read_devices()
    assert hidden.absent_reason == "CUDA_VISIBLE_DEVICES hides every device"


def test_xids_are_faults_or_suspicions_once_and_stay_to_be_read() -> None:
    card = Card("GPU-a")
    double = NvmlDouble(card)
    nvml = NvmlProbe(double)
    nvml.read_devices()
    card.xids += [31]
    (program,) = nvml.read_devices()
    assert (program.fault, program.needs_recheck, program.readings.values["xids"]) == (None, True, [31])
    card.xids += [13, 79]
    (broken,) = nvml.read_devices()
    assert (broken.fault, broken.readings.values["xids"]) == ("XID 79: it fell off the bus", [31, 13, 79])
    (after,) = nvml.read_devices()
    assert (after.fault, after.needs_recheck, after.readings.values["xids"]) == (None, False, [31, 13, 79])
    assert double.registered == ["GPU-a"], "once: a second event set would not get the events that the first one took"


@pytest.mark.parametrize(
    ("card", "warning"),
    [
        (Card("a", throttle=pynvml.nvmlClocksThrottleReasonGpuIdle), None),
        (Card("a", throttle=pynvml.nvmlClocksThrottleReasonSwPowerCap), None),
        (Card("a", throttle=pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown), "throttled: power brake"),
        (
            Card("a", throttle=pynvml.nvmlClocksThrottleReasonHwThermalSlowdown | 1),
            "throttled: thermal slowdown (hardware)",
        ),
        (Card("a", ecc=2), "2 ECC errors that cannot be corrected since the driver was loaded"),
        (Card("a", rows=(1, 0, 0, 0)), None),
        (Card("a", rows=(0, 1, 1, 0)), "a memory row waits to be remapped: reset the device"),
        (Card("a", rows=(0, 1, 1, 1)), "a memory row could not be remapped: replace the card"),
    ],
)
def test_warnings(card: Card, warning: str | None) -> None:
    (device,) = NvmlProbe(NvmlDouble(card)).read_devices()
    assert (device.warning, device.fault) == (warning, None)


def test_a_lost_device_is_a_fault_and_tells_nothing_wrong() -> None:
    (device,) = NvmlProbe(NvmlDouble(Card("GPU-a", lost=True))).read_devices()
    assert device.fault == "the driver has lost the device"
    assert device.readings.values["temperature_celsius"] is None
    assert device.readings.unknown["temperature_celsius"] == "GPU is lost"


@pytest.mark.parametrize("variable", [None, "0,1,2", "2,1,0"])
def test_a_device_that_is_not_given_out_hides_no_other(variable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if variable:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    devices = NvmlProbe(NvmlDouble(Card("GPU-a"), Card("GPU-b", unreachable=True), Card("GPU-c"))).read_devices()
    assert [device.name for device in devices] == ["cuda:0", "cuda:1", "cuda:2"]
    assert [device.fault for device in devices] == [None, "the driver refuses access to the device: GPU is lost", None]
    assert [device.readings.values.get("uuid") for device in devices][:: -1 if variable == "2,1,0" else 1] == [
        "GPU-a",
        None,
        "GPU-c",
    ]


def test_a_driver_that_gives_nothing_out_is_opened_anew() -> None:
    library = NvmlDouble(Card("GPU-a", unreachable=True), Card("GPU-b"))
    nvml = NvmlProbe(library)
    nvml.read_devices()
    nvml.read_devices()
    assert library.opened == 1, "the XIDs of the other device are kept"
    library.cards[1].unreachable = True
    nvml.read_devices()
    nvml.read_devices()
    assert library.opened == 2


UUIDS = ["GPU-8932f937-d72c", "GPU-8932aaaa-0001", "GPU-1b2c"]


@pytest.mark.parametrize(
    ("variable", "places"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("0", [0]),
        ("2, 0", [2, 0]),
        ("1,7,0", [1]),
        ("-1", []),
        ("0,0", [0]),
        ("GPU-1b2c", [2]),
        ("GPU-8932f", [0]),
        ("GPU-8932", []),
        ("GPU-1,1", [2, 1]),
        ("MIG-1b2c", []),
    ],
)
def test_places(variable: str | None, places: list[int]) -> None:
    assert visible_indices(UUIDS, {} if variable is None else {"CUDA_VISIBLE_DEVICES": variable}) == places
