"""Questions in plain words: the route, its answers as JSON or as events, and what follow-ups refer to."""
