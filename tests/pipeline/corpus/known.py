"""Images that are refused, by the beginning of the reason, and those that Pillow shows otherwise, with the reason."""

REFUSED: dict[str, set[str]] = {}
UNLIKE_PILLOW: dict[str, str] = {}
