from collections.abc import Iterator

import pytest


@pytest.fixture(params=["h264", "hevc", "av1"])
def codec(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def no_unexpected_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """An exception that became a fault of a frame may be our own: tests that expect one clear `caplog`."""
    yield
    unexpected = [record for record in caplog.get_records("call") if record.name == "pipeline" and record.exc_info]
    assert not unexpected, [record.exc_info for record in unexpected]
