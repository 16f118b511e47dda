"""Which targets of requests are read, and as which path."""

import h11
import pytest

from service.processes.http_syntax import StrictConnection

ONE_HOST = ("Host: reelmill",)


def target_of(target: str, fields: tuple[str, ...] = ONE_HOST) -> str:
    """The target that the application sees. Raises h11.RemoteProtocolError if the request is refused."""
    connection = StrictConnection()
    head = "".join(f"{line}\r\n" for line in (f"GET {target} HTTP/1.1", *fields, ""))
    connection.receive_data(head.encode())
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    return event.target.decode()


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a?b", "/a?b"),
        ("http://h:1/a?b", "/a?b"),
        ("HTTPS://[::1]", "/"),
        ("http://h?q", "/?q"),
        ("http://h//x", "//x"),
        ("http://h/http://x/", "/http://x/"),
    ],
)
def test_a_server_before_the_path_is_ignored(target: str, path: str) -> None:
    assert target_of(target) == path


@pytest.mark.parametrize(
    "target",
    [
        *("http:///x", "http://u@h/x", "ftp://h/x", "http:x", "http://h#f", "http://h:1x/", "http://h:123456/"),
        *("h:1/x", "h/x", "*", "http://", "http://[::1/x", "http://h\\x"),
    ],
)
def test_every_other_target_is_refused(target: str) -> None:
    with pytest.raises(h11.RemoteProtocolError) as refused:
        target_of(target)
    assert refused.value.error_status_hint == 400


@pytest.mark.parametrize("fields", [(), ("Host: h", "Host: h"), ("Host: u@h",), ("Host: h/x",)])
def test_a_server_in_the_target_does_not_replace_the_host_field(fields: tuple[str, ...]) -> None:
    assert target_of("http://h/x") == "/x"
    with pytest.raises(h11.RemoteProtocolError) as refused:
        target_of("http://h/x", fields)
    assert refused.value.error_status_hint == 400
