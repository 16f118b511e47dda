"""What a follow-up refers to, signed and handed to the client: the service keeps nothing of it."""

import time
from typing import Any

from pydantic import ValidationError

from service.agent.agent import Reply
from service.agent.session import PreviousTurn
from service.errors import invalid_field
from service.guard.document import Document
from service.ids import Subject
from service.routers.agent.answers import MAX_CONTEXT
from service.routers.http.signing import Signer

PURPOSE, LIFETIME_S = "agent-context", 3600


def sign_context(signer: Signer, subject: Subject, question: str, reply: Reply) -> str | None:
    """None if there is nothing to refer to, or if it would be too long to be sent back."""
    if reply.document is None:
        return None
    document = reply.document.model_dump(mode="json", by_alias=True, exclude_unset=True)
    expires = int(time.time()) + LIFETIME_S
    token = signer.sign(PURPOSE, {"sub": subject, "exp": expires, "question": question, "document": document})
    return token if len(token) <= MAX_CONTEXT else None


def read_context(signer: Signer, subject: Subject, token: str | None) -> PreviousTurn | None:
    """The turn before. Raises InvalidRequest for a token that is not the caller's, or has expired."""
    if token is None:
        return None
    try:
        value: Any = signer.verify(PURPOSE, token)
        if value["sub"] == subject and value["exp"] > time.time():
            return PreviousTurn(value["question"], Document.model_validate(value["document"]))
    except (ValueError, RecursionError, KeyError, TypeError, ValidationError):
        pass
    detail = "not a context of yours, or older than an hour: ask without it"
    raise invalid_field("#/context", detail, "context")
