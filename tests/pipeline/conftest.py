import pytest


@pytest.fixture(params=["h264", "hevc", "av1"])
def codec(request: pytest.FixtureRequest) -> str:
    return str(request.param)
