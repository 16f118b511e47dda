"""What the errors of the client say."""

import pytest

from service.client.errors import RenderFailed


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"status": "failed", "error": {"reason": "frame 1"}}, "the render failed: frame 1"),
        ({"status": "cancelled", "error": None}, "the render was cancelled: no reason was given"),
    ],
)
def test_a_render_that_did_not_succeed(status: dict[str, object], text: str) -> None:
    assert str(RenderFailed(status)) == text
