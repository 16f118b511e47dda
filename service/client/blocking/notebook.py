"""A render in a notebook shows itself: its poster and progress, then its player."""

import base64
import html
import importlib
import threading
from typing import Any

from service.client.blocking.portal import iterate, run

# A longer video would make the notebook heavy: it is named, not shown.
MOST_SHOWN_BYTES = 32 << 20


class ShownInNotebooks:
    """Of a render, in IPython and Jupyter."""

    _async: Any

    def _repr_html_(self) -> str:
        """As it is now."""
        render = self._async
        if render.status == "succeeded" and render.video_bytes <= MOST_SHOWN_BYTES:
            return _player(b"".join(iterate(render.video())), run(render.poster()), render.options["container"])
        return _progress(render.fields)

    def _ipython_display_(self) -> None:
        """As it is now; while it is under way, the same place is kept up to date."""
        display = importlib.import_module("IPython.display")
        handle = display.display(display.HTML(self._repr_html_()), display_id=True)
        if handle is not None and not self._async.is_done:
            threading.Thread(target=self._keep_up_to_date, args=(handle, display.HTML), daemon=True).start()

    def _keep_up_to_date(self, handle: Any, to_html: Any) -> None:
        for status in iterate(self._async.statuses()):
            handle.update(to_html(_progress(status)))
        run(self._async.refresh())
        handle.update(to_html(self._repr_html_()))


def _progress(status: dict[str, Any]) -> str:
    done, total = status["frames_done"], status["frames_total"]
    reason = (status.get("error") or {}).get("reason", "")
    size = f", {status['video_bytes']:,} bytes" if status.get("video_bytes") else ""
    text = html.escape(f"{status['phase']}: {done} of {total} frames{size} {reason}")
    return f'<div>render {status["job_id"]}<br><progress value="{done}" max="{total}"></progress> {text}</div>'


def _player(video: bytes, poster: bytes, container: str) -> str:
    data, picture = (base64.b64encode(each).decode() for each in (video, poster))
    media_type = "video/quicktime" if container == "mov" else f"video/{container}"
    return (
        f'<video controls width="640" poster="data:image/jpeg;base64,{picture}">'
        f'<source src="data:{media_type};base64,{data}"></video>'
    )
