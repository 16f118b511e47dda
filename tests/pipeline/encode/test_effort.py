"""The efforts of an encoder: the same quality in other bytes, and files that are as valid as the balanced ones."""

import functools
import io
import subprocess
from fractions import Fraction

import av
import imageio_ffmpeg
import numpy as np
import pytest

from benchmarks.scenes import pictures
from benchmarks.ssim import plane_ssim
from service.pipeline.colour import IMAGE_COLOUR
from service.pipeline.encode.codecs import encoder_options, encoder_quality, reorder_depth
from service.plan.formats import EFFORTS, Codec, Effort
from service.plan.render_plan import CapturedTiming
from tests.pipeline.rendering import numbered_jpegs, options, read_numbers, render
from tests.support.data import media

WIDTH, HEIGHT, FRAMES = 320, 180, 36
LOSSY: list[tuple[Codec, Effort]] = [
    (codec, effort) for codec in ("h264", "hevc", "av1") for effort in EFFORTS[codec] if effort != "balanced"
]
ALL = [(codec, effort) for codec, efforts in EFFORTS.items() for effort in efforts]
FORMS = {"mjpeg": "yuvj420p", "ffv1": "yuvj420p"}


@functools.cache
def camera_frames() -> tuple[bytes, ...]:
    """A pan over a street with walkers and the noise of a sensor, lossless."""
    return tuple(media.png(picture[..., ::-1]) for picture in pictures("street", FRAMES, (WIDTH, HEIGHT)))


@functools.cache
def encoded(codec: Codec, effort: Effort, quality: int) -> bytes:
    form = FORMS.get(codec, "yuv420p")
    size = {"width": WIDTH, "height": HEIGHT}
    return render(list(camera_frames()), codec=codec, effort=effort, quality=quality, form=form, **size).data


@functools.cache
def decibels(codec: Codec, effort: Effort, quality: int) -> float:
    """-10 log10(1 - SSIM) against the sources, both read by FFmpeg's command line."""
    shown = decoded_luma(encoded(codec, effort, quality))
    truth = decoded_luma(encoded("ffv1", "balanced", 100))
    values = [plane_ssim(one, other) for one, other in zip(shown, truth, strict=True)]
    return float(-10 * np.log10(1 - np.mean(values)))


def decoded_luma(data: bytes) -> "np.ndarray[tuple[int, int, int], np.dtype[np.float32]]":
    """(frames, height, width): limited-range luma."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", "-", "-f", "rawvideo"]
    command += ["-vf", "scale=out_range=tv", "-pix_fmt", "yuv420p", "-"]
    raw = subprocess.run(command, input=data, capture_output=True, check=True).stdout
    frames = np.frombuffer(raw, np.uint8).reshape(FRAMES, HEIGHT * 3 // 2, WIDTH)
    return frames[:, :HEIGHT].astype(np.float32)


@pytest.mark.parametrize("quality", [50, 70])
@pytest.mark.parametrize(("codec", "effort"), LOSSY)
def test_the_same_quality_is_the_same_ssim(codec: Codec, effort: Effort, quality: int) -> None:
    """The scale is fitted over a corpus: a single kind of footage may differ by a decibel."""
    assert decibels(codec, effort, quality) == pytest.approx(decibels(codec, "balanced", quality), abs=1)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_small_needs_fewer_bytes_at_equal_ssim(codec: Codec) -> None:
    """By a quarter; read off the curve of size over SSIM, because a step of quality is coarser than the difference."""
    target = decibels(codec, "balanced", 70)
    points = sorted((decibels(codec, "small", q), len(encoded(codec, "small", q))) for q in (58, 70, 82))
    levels, sizes = zip(*points, strict=True)
    assert levels[0] < target < levels[-1]
    assert np.interp(target, levels, np.log(sizes)) < np.log(0.75 * len(encoded(codec, "balanced", 70)))


def test_fast_h264_is_larger() -> None:
    assert len(encoded("h264", "fast", 70)) > len(encoded("h264", "balanced", 70))


@pytest.mark.parametrize(("codec", "effort"), ALL)
def test_every_picture_is_in_its_place_and_the_first_is_the_only_key_frame(codec: Codec, effort: Effort) -> None:
    data = render(numbered_jpegs(40), codec=codec, effort=effort, form=FORMS.get(codec, "yuv420p")).data
    assert read_numbers(data) == list(range(40))
    with av.open(io.BytesIO(data)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    depth = reorder_depth(options(codec=codec, effort=effort))
    ticks = [packet.dts // packet.duration for packet in packets]
    assert ticks == list(range(-depth, 40 - depth))
    assert all(packet.pts >= packet.dts for packet in packets)
    if codec not in FORMS:
        assert [packet.is_keyframe for packet in packets] == [True] + [False] * 39


@pytest.mark.parametrize(("codec", "effort"), [*LOSSY, ("h264", "balanced")])
def test_nothing_is_reordered_deeper_than_the_times_allow(codec: Codec, effort: Effort) -> None:
    """The decoder's own count of pictures it must hold back is the depth that the times are written with."""
    with av.open(io.BytesIO(encoded(codec, effort, 70))) as container:
        context = container.streams.video[0].codec_context
        for _ in container.decode(video=0):
            pass
        assert context.has_b_frames == (reorder_depth(options(codec=codec, effort=effort)) > 0)


@pytest.mark.parametrize("effort", EFFORTS["h264"])
def test_h264_stays_high_profile_with_a_modest_level(effort: Effort) -> None:
    """bytes 1 and 3 of avcC (ISO/IEC 14496-15, 5.3.3.1): 100 is High; 40 is what 1080p needs and hardware plays."""
    frames: list[bytes | None] = [media.jpeg(media.flat_picture((90, 90, 90), 1920, 1080))] * 2
    data = render(frames, effort=effort, width=1920, height=1080).data
    record = data[data.index(b"avcC") + 4 :]
    assert (record[1], record[3] <= 40) == (100, True)


@pytest.mark.parametrize(("codec", "effort"), LOSSY)
def test_captured_timing_has_no_b_frames(codec: Codec, effort: Effort) -> None:
    given = {"timing": CapturedTiming(Fraction(1)), "codec": codec, "effort": effort}
    with av.open(io.BytesIO(render(numbered_jpegs(12), **given).data)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert [packet.pts for packet in packets] == sorted(packet.pts for packet in packets)
    assert all(packet.pts == packet.dts for packet in packets)


def test_the_options_of_balanced() -> None:
    """The options word for word: to change them changes the bytes of every video."""
    shared = "keyint=infinite:scenecut=0:open-gop=0:threads=1:lookahead-threads=1:cpu-independent=1:chromaloc=1"
    assert encoder_options(options(), IMAGE_COLOUR) == {
        "preset": "veryfast",
        "crf": "23",
        "profile": "high",
        "x264-params": shared,
    }
    assert encoder_options(options(codec="hevc"), IMAGE_COLOUR)["x265-params"] == (
        "keyint=-1:scenecut=0:open-gop=0:pools=none:frame-threads=1:wpp=0:info=0:log-level=none"
        ":rc-lookahead=3:bframes=2:b-pyramid=0:aq-mode=1:min-cu-size=8:chromaloc=1"
    )
    assert encoder_options(options(codec="av1"), IMAGE_COLOUR) == {
        "preset": "10",
        "crf": "38",
        "svtav1-params": "lp=1:keyint=-1:irefresh-type=2:scd=0:lookahead=0:hierarchical-levels=4:enable-tf=0:scm=0",
    }


@pytest.mark.parametrize("effort", EFFORTS["ffv1"])
@pytest.mark.parametrize("form", ["yuvj420p", "gray", "bgr0", "gray16le"])
def test_ffv1_is_lossless_at_every_effort(effort: Effort, form: str) -> None:
    random = np.random.default_rng(1)
    if form == "gray16le":
        source = random.integers(0, 65535, (96, 128)).astype(np.uint16)
        file = media.tiff(source)
    else:
        source = random.integers(0, 255, (96, 128, 3)).astype(np.uint8)
        file = media.png(source[..., :1].repeat(3, axis=2) if form == "gray" else source)
    data = render([file] * 3, codec="ffv1", form=form, effort=effort).data
    best = render([file] * 3, codec="ffv1", form=form).data
    with av.open(io.BytesIO(data)) as one, av.open(io.BytesIO(best)) as other:
        for shown, truth in zip(one.decode(video=0), other.decode(video=0), strict=True):
            assert shown.format.name == truth.format.name
            assert [bytes(plane) for plane in shown.planes] == [bytes(plane) for plane in truth.planes]
            if form == "gray16le":
                assert np.array_equal(shown.to_ndarray(), source)


def test_small_mjpeg_is_the_same_picture_in_fewer_bytes_and_still_baseline() -> None:
    """SOF0 (ITU-T T.81, table B.1) in each picture, and no progressive SOF2."""
    balanced, small = (encoded("mjpeg", effort, 70) for effort in ("balanced", "small"))
    assert np.array_equal(decoded_luma(balanced), decoded_luma(small))
    assert len(small) < 0.98 * len(balanced)
    with av.open(io.BytesIO(small)) as container:
        pictures = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    assert all(b"\xff\xc0" in picture and b"\xff\xc2" not in picture for picture in pictures)


@pytest.mark.parametrize(("codec", "effort"), LOSSY)
def test_more_quality_never_means_a_higher_rate(codec: Codec, effort: Effort) -> None:
    rates = [encoder_quality(codec, quality, effort) for quality in range(101)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] >= 1
    assert max(rates) <= (63 if codec == "av1" else 51)
