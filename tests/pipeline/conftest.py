import pytest


@pytest.fixture(params=["h264", "av1"])
def codec(request: pytest.FixtureRequest) -> str:
    return str(request.param)
