"""Which container holds which codec; sizes that codecs can take."""

import pytest

from service.errors import Invalid
from service.plan.containers import HOLDERS, MEDIA_TYPES, Codec, Container, container_of
from service.plan.geometry import output_size


@pytest.mark.parametrize("codec", HOLDERS)
def test_the_first_is_the_default(codec: Codec) -> None:
    assert container_of(codec, None) == HOLDERS[codec][0]


@pytest.mark.parametrize("container", MEDIA_TYPES)
@pytest.mark.parametrize("codec", HOLDERS)
def test_a_pair_is_taken_or_refused_with_what_would_do(codec: Codec, container: Container) -> None:
    if container in HOLDERS[codec]:
        assert container_of(codec, container) == container
        return
    with pytest.raises(Invalid, match=f"{container} cannot hold {codec}: use {HOLDERS[codec][0]}") as refusal:
        container_of(codec, container)
    assert refusal.value.errors[0].pointer == "#/container"


@pytest.mark.parametrize(("codec", "size"), [("h264", (102, 76)), ("mjpeg", (101, 75)), ("ffv1", (101, 75))])
def test_odd_sides_stay_where_the_codec_takes_them(codec: Codec, size: tuple[int, int]) -> None:
    assert output_size((101, 75), None, None, None, codec) == size


@pytest.mark.parametrize(("codec", "source"), [("hevc", (48, 200)), ("hevc", (200, 60)), ("av1", (2, 2))])
def test_pictures_too_small_for_the_encoder_are_refused(codec: Codec, source: tuple[int, int]) -> None:
    with pytest.raises(Invalid, match="use another codec") as refusal:
        output_size(source, None, None, None, codec)
    assert refusal.value.errors[0].code == "too_small"
