"""`python -m benchmarks.api.baseline_app VARIANT`: a minimal app under our server, with none, three or all middleware.

It prints its URL and a token once it listens, logs to stderr and stops on SIGTERM."""

import asyncio
import secrets
import socket
import sys
from datetime import timedelta

import uvloop
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.middleware import Middleware

from service.identity.settings import IdentitySettings
from service.identity.tokens import TokenVerifier, issue_token
from service.processes.api import GracefulServer, uvicorn_config
from service.processes.app import middleware_stack
from service.routers.http.middleware import BodyLimit
from service.routers.http.problems import ProblemBoundary
from service.routers.settings import HttpSettings
from service.telemetry import logging
from service.telemetry.request_log import AccessLogMiddleware

VARIANTS = ("bare", "three", "all")
# Access log, error documents and body limit: the middleware that every request needs.
CORE_MIDDLEWARE: tuple[object, ...] = (AccessLogMiddleware, ProblemBoundary, BodyLimit)
UNLIMITED_RATE = "1000000/second"


def create_baseline_app(variant: str, secret: SecretStr) -> FastAPI:
    """The application with the middleware of the variant."""
    app = FastAPI(openapi_url=None, middleware=_middleware_of(variant, secret))

    @app.get("/hello")
    async def hello() -> dict[str, str]:
        return {"hello": "world"}

    return app


def _middleware_of(variant: str, secret: SecretStr) -> list[Middleware]:
    verifier = TokenVerifier(IdentitySettings.model_construct(), secret)
    known = middleware_stack(verifier, HttpSettings.model_construct(rate_limit=UNLIMITED_RATE))
    core = [layer for layer in known if layer.cls in CORE_MIDDLEWARE]
    return {"bare": [], "three": core, "all": known}[variant]


def main(variant: str) -> None:
    logging.configure(stream=sys.stderr)
    secret = SecretStr(secrets.token_hex(32))
    listener = socket.create_server(("127.0.0.1", 0))
    token = issue_token(secret, "benchmark", ("catalog:read",), timedelta(hours=12))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/hello {token}", flush=True)
    config = uvicorn_config(create_baseline_app(variant, secret), HttpSettings.model_construct())
    uvloop.run(GracefulServer(config, asyncio.Event()).serve(sockets=[listener]))


if __name__ == "__main__":
    main(sys.argv[1])
