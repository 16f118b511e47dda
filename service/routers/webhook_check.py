"""A webhook's address is looked at when it is asked for, not only when it is used."""

from service.errors import invalid_field
from service.webhooks.settings import WebhookSettings
from service.webhooks.target import TargetForbidden, TargetUnresolvable, parse_target, resolve_addresses

WEBHOOK_POINTER = "#/webhook_url"


async def require_deliverable_webhook(url: str | None, settings: WebhookSettings) -> None:
    """Raises Invalid; a host that does not resolve now may do so when the render has ended."""
    if url is None:
        return
    if settings.secret is None:
        detail = "webhooks are not configured here (REELMILL_WEBHOOK_SECRET)"
        raise invalid_field(WEBHOOK_POINTER, detail, "no_webhooks")
    try:
        await resolve_addresses(parse_target(url), allow_private=settings.allow_private)
    except TargetForbidden as refused:
        raise invalid_field(WEBHOOK_POINTER, f"this webhook cannot be used: {refused}", "webhook_refused") from refused
    except TargetUnresolvable:
        return
