"""What cannot be opened is refused with a reason that says what is wrong with it; of several streams, the main one."""

import functools
import io
from collections.abc import Callable

import pytest

from service.pipeline.frames import MediaUnreadable
from service.pipeline.probe import probe_video
from tests.support.data.ffmpeg_command import make_video, shown_by_ffmpeg

SOUND = ("-f", "lavfi", "-i", "sine=d=0.2")
VIDEO = ("-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=0.4")
H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p")
KEYS = ("-encryption_key", "76a6c65c5ea762046bd749a2e632ccbb", "-encryption_kid", "a7e61c373e219033c21091fa607bf3b8")


@functools.cache
def whole(*more: str) -> bytes:
    return make_video("v.mp4", *VIDEO, *H264, *more)


def faststart() -> bytes:
    return whole("-movflags", "+faststart")


def with_cover(name: str) -> bytes:
    cover = ("-f", "lavfi", "-i", "color=red:s=200x200:d=1:r=1")
    codecs = ("-c:v", "png", "-frames:v", "1", "-disposition:v", "attached_pic")
    return make_video(name, *SOUND, *cover, "-map", "0", "-map", "1", *codecs)


SUBTITLES = b"1\n00:00:00,000 --> 00:00:01,000\nhello\n"
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "audio-mp4": (lambda: make_video("a.mp4", *SOUND), "it holds only audio (aac)"),
    "audio-mkv": (lambda: make_video("a.mkv", *SOUND, "-c:a", "flac"), "it holds only audio (flac)"),
    "audio-wav": (lambda: make_video("a.wav", *SOUND), "it holds only audio (pcm_s16le)"),
    "cover-mp3": (lambda: with_cover("a.mp3"), "it holds only audio (mp3) and a cover picture"),
    "cover-m4a": (lambda: with_cover("a.m4a"), "it holds only audio (aac) and a cover picture"),
    "subtitles": (lambda: make_video("s.mkv", source=SUBTITLES), "it holds only subtitles (ass)"),
    "no-index": (lambda: whole()[: whole().index(b"moov") - 4], "the file's index (moov) is missing"),
    "cut-index": (lambda: faststart()[:400], "the file's index (moov) is cut off"),
    "only-index": (lambda: faststart()[: faststart().index(b"mdat") - 4], "none of its 10 pictures are whole"),
    "fragment": (lambda: b"\0\0\0\x10styp" + bytes(8) + b"\0\0\0\x08moof", "a fragment of a stream without its header"),
    "encrypted": (lambda: whole("-encryption_scheme", "cenc-aes-ctr", *KEYS), "is encrypted (DRM)"),
    "codec": (lambda: whole().replace(b"avc1", b"zzz1"), "its codec 'zzz1' is not supported"),
    "empty": (lambda: b"", "the file is empty"),
    "zeros": (lambda: bytes(5000), "holds only zeros"),
    "text": (lambda: b"a list of things\n" * 50, "it is a text file"),
    "web-page": (lambda: b"<!DOCTYPE html><html>404</html>", "it is a web page"),
    "zip": (lambda: b"PK\x03\x04" + bytes(range(256)) * 9, "it is a ZIP archive"),
    "cut-avi": (lambda: make_video("v.avi", *VIDEO)[:300], "begins like an AVI, but is damaged or cut off"),
    "noise": (lambda: bytes(range(1, 256)) * 40, "no known format begins like this file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_reason_names_what_is_wrong(name: str) -> None:
    make, reason = REFUSED[name]
    with pytest.raises(MediaUnreadable) as refusal:
        probe_video(io.BytesIO(make()))
    assert reason in refusal.value.reason
    assert not any(raw in refusal.value.reason for raw in ("Errno", "<none>", "tuple", "NoneType"))


def test_a_copy_that_ends_early_has_its_pictures_and_says_what_is_lost() -> None:
    data = faststart()
    facts = probe_video(io.BytesIO(data[:-60]))
    assert 0 < len(facts.pts) < 10
    assert facts.problem and facts.problem.startswith("the file is cut off") and "of its 10 pictures" in facts.problem
    assert probe_video(io.BytesIO(data)).problem is None


TWO = ("-f", "lavfi", "-i", "testsrc2=s=32x24:r=25:d=0.4", "-map", "1", "-map", "0")
COVER = ("-f", "lavfi", "-i", "color=red:s=200x200:d=1:r=1", "-map", "1", "-map", "0", "-c:v:0", "png")


@pytest.mark.parametrize(("name", "size"), [("v.mkv", (64, 48)), ("v.mov", (32, 24)), ("v.mp4", (32, 24))])
def test_of_several_videos_the_one_that_ffmpeg_chooses_is_shown(name: str, size: tuple[int, int]) -> None:
    """The larger one, but for MP4 and MOV, where the first track is the default."""
    flags = ("-disposition:v:0", "0", "-disposition:v:1", "0")
    data = make_video(name, *VIDEO, *TWO, *H264, *flags)
    facts = probe_video(io.BytesIO(data))
    assert (facts.width, facts.height) == size
    assert len(facts.pts) == len(shown_by_ffmpeg(data, size)) == 10


def test_the_default_track_goes_before_a_larger_one() -> None:
    flags = ("-disposition:v:0", "default", "-disposition:v:1", "0")
    data = make_video("v.mkv", *VIDEO, *TWO, *H264, *flags)
    assert probe_video(io.BytesIO(data)).width == 32
    assert len(shown_by_ffmpeg(data, (32, 24))) == 10


def test_a_cover_picture_before_the_video_is_passed_over() -> None:
    cover = ("-frames:v:0", "1", "-disposition:v:0", "attached_pic", "-c:v:1", "libx264", "-pix_fmt:v:1", "yuv420p")
    assert probe_video(io.BytesIO(make_video("v.mp4", *VIDEO, *COVER, *cover))).width == 64


def test_a_timecode_track_changes_nothing() -> None:
    data = make_video("v.mov", *VIDEO, *H264, "-timecode", "01:00:00:00")
    assert b"tmcd" in data
    assert len(probe_video(io.BytesIO(data)).pts) == 10


@pytest.mark.parametrize("size", ["64x48", "320x240", "1280x720"])
def test_a_bare_stream_of_jpegs_is_a_video_whatever_their_size(size: str) -> None:
    """FFmpeg's guess by content takes the larger ones for a single image."""
    codec = ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-f", "mjpeg")
    stream = make_video("v.mjpg", "-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=0.4", *codec)
    assert len(probe_video(io.BytesIO(stream)).pts) == 10
    with pytest.raises(MediaUnreadable, match="is an image"):
        probe_video(io.BytesIO(stream[: stream.index(b"\xff\xd9\xff\xd8") + 2]))
