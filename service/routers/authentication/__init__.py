"""Who sends a request, by a bearer token or by the session cookie of a browser, which only our own pages may use."""
