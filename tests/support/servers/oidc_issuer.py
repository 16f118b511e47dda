"""A real OpenID Connect issuer, Canaille, with a few people. As a program it is the issuer itself."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from tempfile import TemporaryDirectory

import httpx
import pytest

from service.embedded.cluster import find_free_port
from tests.support.servers.listening import wait_until_listening

CLIENT_ID, CLIENT_SECRET, PASSWORD = "reelmill", "the secret: of/the client", "correct horse"
# Canaille fails if one person signs in twice within a second, so there are many operators.
OPERATORS = ("olga", *(f"operator-{number}" for number in range(12)))
# Who is in which groups.
PEOPLE = dict.fromkeys(OPERATORS, ("lab", "operators")) | {"alice": ("lab",), "eve": (), "adam": ()}
START_TIMEOUT_S = 60.0


def issuer_variables(address: str) -> dict[str, str]:
    """The environment of a service that trusts it."""
    return {
        "OIDC_ISSUER": address,
        "OIDC_CLIENT_ID": CLIENT_ID,
        "OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "OIDC_GROUPS": "operators=admin, lab=catalog:read catalog:write",
    }


@dataclass(frozen=True)
class Issuer:
    """Where it is, and how people log in there."""

    address: str

    def log_in(self, address: str, name: str) -> str:
        """Follow `address` there, fill in its forms as this person, and return where it sends the browser back to."""
        with httpx.Client(trust_env=False, timeout=20) as browser:
            answer = browser.get(address)
            while address.startswith(self.address):
                if "location" in answer.headers:
                    address = str(answer.url.join(answer.headers["location"]))
                    answer = browser.get(address) if address.startswith(self.address) else answer
                else:
                    answer = browser.post(address, data=_fill_in(answer.raise_for_status().text, name))
            return address


def _fill_in(page: str, name: str) -> dict[str, str]:
    (token,) = re.findall(r'name="csrf_token"[^>]*value="([^"]*)"', page)
    values = {"login": name, "password": PASSWORD}
    return {"csrf_token": token} | {field: value for field, value in values.items() if f'name="{field}"' in page}


@contextmanager
def oidc_issuer(callback: str, site: str = "") -> Iterator[Issuer]:
    """At `site`, a host and a port of this machine. It sends browsers back to `callback` only; the test is skipped where Canaille is not installed."""
    if find_spec("canaille") is None:
        pytest.skip("Canaille is not installed (the extra `dev` brings it)")
    site = site or f"127.0.0.1:{find_free_port()}"
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", __name__, site, callback, f"sqlite:///{folder}/people"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            wait_until_listening(process, int(site.partition(":")[2]), START_TIMEOUT_S)
            yield Issuer(f"http://{site}")
        finally:
            process.terminate()
            process.wait(20)


def serve(site: str, callback: str, database: str) -> None:
    """Not in memory: there Canaille takes another code for the one that it is shown."""
    from canaille import create_app
    from canaille.app import models
    from canaille.backends import Backend
    from werkzeug.serving import run_simple

    app = create_app(
        {
            "SERVER_NAME": site,
            "PREFERRED_URL_SCHEME": "http",
            "SESSION_COOKIE_SECURE": False,
            "SECRET_KEY": "of a test" * 9,
            "CANAILLE": {"DATABASE": "sql", "JAVASCRIPT": False, "HTMX": False, "SMTP": None},
            "CANAILLE_SQL": {"DATABASE_URI": database, "PASSWORD_SCHEMES": "plaintext"},
            "CANAILLE_OIDC": {},
        }
    )
    with app.app_context():
        store = Backend.instance
        groups = {name: models.Group(display_name=name, members=[]) for name in ("lab", "operators")}
        for name, memberships in PEOPLE.items():
            person = models.User(user_name=name, formatted_name=name, family_name=name, password=PASSWORD)
            person.emails = [f"{name}@lab.example"]
            store.save(person)
            for group in memberships:
                groups[group].members = [*groups[group].members, person]
        for group in groups.values():
            store.save(group)
        client = models.Client(
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            client_name="Reelmill",
            client_uri="http://127.0.0.1",
            redirect_uris=[callback],
            grant_types=["authorization_code"],
            response_types=["code"],
            scope=["openid", "profile", "groups"],
            token_endpoint_auth_method="client_secret_basic",
            id_token_signed_response_alg="RS256",
        )
        store.save(client)
        client.audience = [client]
        store.save(client)
    run_simple("127.0.0.1", int(site.partition(":")[2]), app, threaded=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
