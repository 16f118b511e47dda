"""Calls of PyNvVideoCodec and torchvision, with doubles that behave as documented.

That the libraries really do so can only be shown on a machine with a GPU: see test_real_device.
"""

from contextlib import contextmanager, nullcontext
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from service.pipeline.cuda.driver import EncoderSettings
from service.pipeline.cuda.errors import CudaCallFailed, CudaOutOfMemory, CudaUnsupported, DeviceLost
from service.pipeline.cuda.torch.decoders import JpegDecoder, NvdecSession
from service.pipeline.cuda.torch.exception_mapping import translate_errors
from service.pipeline.cuda.torch.memory import BatchPicture, PictureBatch, PinnedDoubleBuffer, PinnedTransfer, as_array
from service.pipeline.cuda.torch.nvenc import NvencSession

SETTINGS = EncoderSettings("h264", 64, 48, Fraction(30000, 1001), 70, 6, 1, 13)


class Stream:
    """A stream of the CPU."""

    device = torch.device("cpu")
    cuda_stream = 77

    def __init__(self) -> None:
        self.waited: list[Any] = []

    def wait_event(self, event: Any) -> None:
        self.waited.append(event)


@pytest.fixture(autouse=True)
def no_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: None)


def healthy_context() -> None: ...


def lost_context() -> None:
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


@contextmanager
def translate() -> Any:
    with translate_errors(healthy_context):
        yield


class Library:
    """The part of PyNvVideoCodec that is used; `delay` pictures stay in the encoder until it is flushed."""

    cudaVideoCodec = SimpleNamespace(H264="H264", HEVC="HEVC", AV1="AV1")

    class PacketData:
        bsl_data = bsl = pts = 0

    class NV_ENC_PIC_PARAMS:
        inputTimeStamp = -1

    def __init__(self, delay: int = 0, reorder: bool = False, counts_from: int = 0) -> None:
        self.delay, self.reorder, self.counts_from = delay, reorder, counts_from
        self.asked: dict[str, Any] = {}
        self.seen: list[Any] = []

    def CreateEncoder(self, width: int, height: int, fmt: str, host: bool, **options: Any) -> "Library":
        self.asked = {"size": (width, height), "fmt": fmt, "host": host} | options
        self.waiting: list[dict[str, Any]] = []
        return self

    def GetNumBFrames(self) -> int:
        return int(self.asked["bf"]) - self.counts_from

    def Encode(self, surface: Any, parameters: Any) -> list[dict[str, Any]]:
        luma, chroma = surface.cuda()
        self.seen.append((luma.__cuda_array_interface__, chroma.__cuda_array_interface__))
        number = parameters.inputTimeStamp
        self.waiting.append({"data": b"%d" % number, "timestamp": number, "picture_type": 3 if not number else 0})
        ready = max(len(self.waiting) - self.delay, 0)
        out, self.waiting = self.waiting[:ready], self.waiting[ready:]
        return out[::-1] if self.reorder else out

    def EndEncode(self) -> list[dict[str, Any]]:
        out, self.waiting = self.waiting, []
        return out[::-1] if self.reorder else out

    def CreateDecoder(self, **options: Any) -> "Library":
        self.asked = options
        self.frames = [[(3, 0), (5, 1)], [(7, 2)], []]
        return self

    def Decode(self, packet: Any) -> list[Any]:
        return [Frame(pts, level) for pts, level in (self.frames.pop(0) if self.frames else [])]


class Frame:
    def __init__(self, pts: int, level: int) -> None:
        self._pts, self._tensor = pts, torch.full((72, 64), level, dtype=torch.uint8)

    def getPTS(self) -> int:
        return self._pts

    def __dlpack__(self, **options: Any) -> Any:
        return self._tensor.__dlpack__()

    def __dlpack_device__(self) -> Any:
        return self._tensor.__dlpack_device__()


def host(level: int) -> Any:
    return np.full((72, 64), level, np.uint8)


def test_an_encoder_is_asked_for_one_group_without_reordering() -> None:
    library = Library()
    NvencSession(library, SETTINGS, Stream(), translate)
    asked = library.asked
    assert (asked["size"], asked["fmt"], asked["host"], asked["codec"]) == ((64, 48), "NV12", False, "h264")
    assert (asked["bf"], asked["rc"], asked["cudastream"], asked["fps"]) == ("0", "constqp", 77, "29.97")
    assert int(asked["gop"]) == int(asked["idrperiod"]) >= 100_000


def test_the_effort_is_the_preset() -> None:
    presets = []
    for effort in ("fast", "balanced", "small"):
        library = Library()
        NvencSession(library, replace(SETTINGS, effort=effort), Stream(), translate)
        presets.append(library.asked["preset"])
    assert presets == ["P1", "P4", "P7"]


def test_whatever_the_option_counts_there_are_no_b_pictures() -> None:
    library = Library(counts_from=1)
    NvencSession(library, SETTINGS, Stream(), translate)
    assert library.asked["bf"] == "1"
    with pytest.raises(CudaUnsupported, match="reorders"):
        NvencSession(Library(counts_from=-1), SETTINGS, Stream(), translate)


@pytest.mark.parametrize("delay", [0, 1, 4])
def test_pictures_come_out_in_order_however_late(delay: int) -> None:
    encoder = NvencSession(Library(delay), SETTINGS, Stream(), translate)
    result = [one for level in range(6) for one in encoder.encode(host(level))] + list(encoder.finish())
    assert [one.data for one in result] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert [one.is_key_frame for one in result] == [True] + [False] * 5


def test_an_encoder_that_reorders_is_refused() -> None:
    encoder = NvencSession(Library(2, reorder=True), SETTINGS, Stream(), translate)
    for level in range(2):
        encoder.encode(host(level))
    with pytest.raises(CudaCallFailed, match="instead of 0"):
        encoder.finish()


def test_planes_are_handed_over_where_they_lie() -> None:
    library, stream = Library(), Stream()
    packed = torch.zeros((3, 72, 64), dtype=torch.uint8)
    picture = BatchPicture(PictureBatch(packed, None, "made"), 2)
    NvencSession(library, SETTINGS, stream, translate).encode(picture)
    luma, chroma = library.seen[0]
    start = packed.data_ptr() + 2 * 72 * 64
    assert (luma["shape"], luma["strides"], luma["data"][0]) == ((48, 64, 1), (64, 1, 1), start)
    assert (chroma["shape"], chroma["strides"], chroma["data"][0]) == ((24, 32, 2), (64, 2, 1), start + 48 * 64)
    assert stream.waited == ["made"], "the encoder's stream waits for the picture"


def test_no_session_is_no_encoder() -> None:
    class None_(Library):
        def CreateEncoder(self, *size: Any, **options: Any) -> Any:
            raise RuntimeError("PyNvEncoder constructor failed: unsupported device\nadvice")

    with pytest.raises(CudaUnsupported, match="unsupported device") as refused:
        NvencSession(None_(), SETTINGS, Stream(), translate)
    assert "advice" not in refused.value.reason


def test_decoded_pictures_are_copied_out_with_their_times() -> None:
    library = Library()
    feed = NvdecSession(library, "hevc", Stream(), translate)
    assert library.asked["codec"] == "HEVC"
    shown = [*feed.decode(b"\0\0\1packet", 3), *feed.finish()]
    assert [(pts, image.width, image.height, image.kind) for pts, image in shown] == [
        (3, 64, 48, "nv12"),
        (5, 64, 48, "nv12"),
        (7, 64, 48, "nv12"),
    ]


def test_pictures_of_more_than_8_bits_are_refused() -> None:
    class Deep(Library):
        def Decode(self, packet: Any) -> list[Any]:
            frame = Frame(1, 1)
            frame._tensor = frame._tensor.to(torch.int16)
            return [frame]

    with pytest.raises(CudaUnsupported, match="not 8-bit"):
        NvdecSession(Deep(), "h264", Stream(), translate).decode(b"x", 1)


class Decoder:
    """torchvision's decode_jpeg: all or nothing."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, images: list[torch.Tensor], device: Any) -> list[torch.Tensor]:
        self.calls.append(len(images))
        texts = [bytes(image.numpy()) for image in images]
        if b"bad" in texts:
            raise RuntimeError("Error while decoding JPEG images: Failed to parse jpeg stream: 3")
        if b"full" in texts:
            raise RuntimeError("Error while decoding JPEG images: Failed to decode batch: 5")
        shapes = {b"gray": (1, 4, 6), b"odd": (2, 4, 6)}
        return [torch.zeros(shapes.get(text, (3, 4, 6)), dtype=torch.uint8) for text in texts]


def jpegs(decoder: Decoder, alive: Any = healthy_context) -> JpegDecoder:
    result: JpegDecoder = JpegDecoder.__new__(JpegDecoder)
    result._decode, result._device, result._translate_errors = (
        decoder,
        torch.device("cpu"),
        lambda: translate_errors(alive),
    )
    result._staging = torch.empty(1000, dtype=torch.uint8)
    return result


def test_one_bad_jpeg_of_a_batch_is_found_by_decoding_each_alone() -> None:
    decoder = Decoder()
    found = jpegs(decoder).decode([b"one", b"bad", b"gray", b"odd"])
    assert decoder.calls == [4, 1, 1, 1, 1]
    assert [one if isinstance(one, str) else one.kind for one in found] == [
        "rgb",
        "RuntimeError: Error while decoding JPEG images: Failed to parse jpeg stream: 3",
        "gray",
        "nvJPEG made torch.uint8 (2, 4, 6) of it",
    ]


def test_full_memory_and_a_broken_context_are_no_fault_of_an_image() -> None:
    with pytest.raises(CudaOutOfMemory):
        jpegs(Decoder()).decode([b"one", b"full"])
    with pytest.raises(DeviceLost):
        jpegs(Decoder(), lost_context).decode([b"one", b"bad"])


def test_torch_s_own_out_of_memory() -> None:
    with pytest.raises(CudaOutOfMemory), translate_errors(healthy_context):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


class Event:
    def __init__(self) -> None:
        self.waited = 0

    def synchronize(self) -> None:
        self.waited += 1


def test_a_pinned_block_is_not_given_out_before_it_is_free() -> None:
    blocks, events = PinnedDoubleBuffer(pin=False), [Event(), Event(), Event()]
    taken = []
    for event in events:
        taken.append(blocks.acquire(100))
        blocks.mark_in_use(event)
    assert [event.waited for event in events] == [1, 0, 0]
    assert taken[0].data_ptr() == taken[2].data_ptr() != taken[1].data_ptr()
    assert len(blocks.acquire(1000)) == 1000


def test_a_transfer_gives_pictures_and_counts() -> None:
    packed = torch.arange(2 * 3 * 2, dtype=torch.uint8).view(2, 3, 2)
    clipped = torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.int32)
    block = torch.cat([packed.view(-1), clipped.view(torch.uint8).view(-1)])
    event = Event()
    pictures, counts = PinnedTransfer(PictureBatch(packed, clipped, None), block, event, translate).wait()
    assert np.array_equal(pictures, packed.numpy())
    assert counts == [(1, 2, 3), (4, 5, 6)]
    assert event.waited == 1
    assert as_array(block[:12], (2, 3, 2), np.uint8).base is not None, "the same memory"
