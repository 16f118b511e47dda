"""The open connections of an API process: how many there may be, and which is closed if there are too many."""

import resource
import time
from collections import Counter, OrderedDict
from typing import Protocol

import structlog
from uvicorn.middleware.proxy_headers import _TrustedHosts

from service.routers.http.rate_limit import client_network
from service.routers.settings import HttpSettings
from service.telemetry.metrics import CONNECTIONS, CONNECTIONS_CLOSED

log = structlog.get_logger("service.connections")
# Handles for everything that is no connection of a client: database, object store, log, modules, uploads on disk, and
# connections that were accepted a moment ago and are about to be refused.
RESERVED_HANDLES = 256
# A request may need a second handle: the file, or the connection to S3, that its answer is read from.
HANDLES_PER_CONNECTION = 2
# More is of no use, and children that close all their handles would take long: some systems allow a thousand million.
MOST_HANDLES = 65_536
# Closed connections are logged as a sum, so that an attack does not fill the log.
LOG_INTERVAL_S = 10.0


def raise_handle_limit() -> int:
    """Raise RLIMIT_NOFILE of this process to the hard limit; returns the number of handles it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_HANDLES if hard == resource.RLIM_INFINITY else min(hard, MOST_HANDLES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return MOST_HANDLES if soft == resource.RLIM_INFINITY else soft


def limit_connections(http: HttpSettings, handles: int) -> HttpSettings:
    """The settings with as many connections as a process with so many handles can serve."""
    possible = max((handles - RESERVED_HANDLES) // HANDLES_PER_CONNECTION, 1)
    return http.model_copy(update={"max_connections": min(http.max_connections, possible)})


class ClientConnection(Protocol):
    """What the table needs of a connection."""

    def give_up(self, reason: str) -> None:
        """Close it at once, as there is no room."""


class ConnectionTable:
    """Counts connections overall and per client address.

    `waiting` has those whose client has not sent a whole request head, `stalled` those whose client is in the middle of
    sending a body or does not read its answer: each with the one that has made no progress for longest first. If the
    table is full, the first of these makes room for a new connection. The address of a trusted proxy is not counted:
    `AddressLimit` counts the addresses that it forwards.
    """

    def __init__(self, http: HttpSettings, trusted: str | list[str] = "") -> None:
        self.limit, self.address_limit = http.max_connections, http.connections_per_address
        self.waiting: OrderedDict[ClientConnection, None] = OrderedDict()
        self.stalled: OrderedDict[ClientConnection, None] = OrderedDict()
        self._networks: dict[ClientConnection, str] = {}
        self._counts: Counter[str] = Counter()
        self._trusted = _TrustedHosts(trusted)
        self._closed: Counter[str] = Counter()
        self._logged_at = 0.0

    def __len__(self) -> int:
        return len(self._networks)

    def admit(self, connection: ClientConnection, address: str) -> bool:
        """Count a new connection, and make room for it if need be. False if there is none."""
        network = "" if address in self._trusted else client_network(address)
        if network and self._counts[network] >= self.address_limit:
            self.count_closed("too many from one address")
            return False
        if len(self) >= self.limit and not self._make_room():
            self.count_closed("no room for another")
            return False
        self._networks[connection] = network
        self._counts[network] += 1
        CONNECTIONS.set(len(self))
        return True

    def remove(self, connection: ClientConnection) -> None:
        """Forget a connection, if it is here."""
        self.waiting.pop(connection, None)
        self.stalled.pop(connection, None)
        network = self._networks.pop(connection, None)
        if network is None:
            return
        self._counts[network] -= 1
        if not self._counts[network]:
            del self._counts[network]
        CONNECTIONS.set(len(self))

    def wait_for_head(self, connection: ClientConnection) -> None:
        self.stalled.pop(connection, None)
        self.waiting[connection] = None

    def begin_request(self, connection: ClientConnection, *, needs_client: bool) -> None:
        """The head has arrived. `needs_client`: the request cannot go on before the client sends or reads."""
        self.waiting.pop(connection, None)
        self.stalled.pop(connection, None)
        if needs_client:
            self.stalled[connection] = None

    def count_closed(self, reason: str) -> None:
        """Count a connection that was closed against its client's will, and log the sums now and then."""
        CONNECTIONS_CLOSED.labels(reason).inc()
        self._closed[reason] += 1
        if time.monotonic() - self._logged_at >= LOG_INTERVAL_S:
            self._logged_at = time.monotonic()
            log.warning("connections were closed", open=len(self), reasons=dict(self._closed))
            self._closed.clear()

    def _make_room(self) -> bool:
        oldest = next(iter(self.waiting), None) or next(iter(self.stalled), None)
        if oldest is None:
            return False
        self.remove(oldest)
        oldest.give_up("room for another")
        return True
