"""Writes MPEG-4 as DivX 5 and Xvid pack it into an AVI: a B-frame shares the chunk of the frame that it refers to."""

import io
from fractions import Fraction

import av

_VOP, _MARK = b"\0\0\1\xb6", b"\0\0\1\xb2DivX503b1393p"


def pack_frames(video: bytes) -> bytes:
    """`video` is MPEG-4 at 25 pictures a second. A chunk without a picture stands for each B-frame that was moved."""
    with av.open(io.BytesIO(video)) as container:
        packets = [(bytes(packet), packet.is_keyframe) for packet in container.demux(video=0) if packet.size]
    chunks: list[tuple[bytes, bool]] = []
    waiting = False
    for number, (data, is_key) in enumerate(packets):
        follows = number + 1 < len(packets) and _kind(packets[number + 1][0]) == "B"
        if _kind(data) == "B":
            chunks += [(data, False)] if not waiting else []
            waiting = False
            chunks += [(_empty_frame(len(chunks)), False)] if not follows else []
            continue
        marked = data.replace(_VOP, _MARK + _VOP, 1) if is_key else data
        chunks.append((marked + packets[number + 1][0], is_key) if follows else (marked, is_key))
        waiting = follows
    return _write_avi(chunks)


def _kind(data: bytes) -> str:
    return "IPBS"[data[data.index(_VOP) + 4] >> 6]


def _empty_frame(tick: int) -> bytes:
    """A P-frame that says it is not coded (vop_coded = 0), with a five-bit time of 25 ticks a second."""
    bits = f"0101{tick % 25:05b}10"
    bits += "0" + "1" * (-(len(bits) + 1) % 8)
    return _VOP + int(bits, 2).to_bytes(len(bits) // 8, "big")


def _write_avi(chunks: list[tuple[bytes, bool]]) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="avi") as container:
        stream = container.add_stream("mpeg4", 25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.codec_context.codec_tag = "XVID"
        for number, (data, is_key) in enumerate(chunks):
            packet = av.Packet(data)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 25), stream, is_key
            container.mux(packet)
    return out.getvalue()
