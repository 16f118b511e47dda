"""The client of a Reelmill service, asynchronous; `blocking` has the same for scripts and notebooks.

It imports httpx, the standard library and, for the names and formats of files, `service.plan.names` and
`service.plan.formats`: nothing that is heavy.
"""
