"""Gives frames the pixel aspect ratio of the output, which FFV1 writes into each of them."""

from fractions import Fraction

from av import VideoFrame
from av.filter import Graph


class PixelAspectWriter:
    """Frames keep the aspect ratio of the source that they were decoded from, and PyAV cannot change it: FFmpeg's
    filter does. No sample is copied."""

    def __init__(self, pixel_aspect: Fraction) -> None:
        self._pixel_aspect = pixel_aspect
        self._graph: Graph | None = None

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """The same samples; all frames have one size and pixel format."""
        graph = self._graph or self._open_graph(frame)
        graph.vpush(frame)
        shown = graph.vpull()
        assert isinstance(shown, VideoFrame)
        return shown

    def _open_graph(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        graph.threads = 1
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        aspect, sink = graph.add("setsar", str(self._pixel_aspect)), graph.add("buffersink")
        source.link_to(aspect)
        aspect.link_to(sink)
        graph.configure()
        self._graph = graph
        return graph
