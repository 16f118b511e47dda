"""The client of a Reelmill service, asynchronous; `blocking` has the same for scripts and notebooks.

It imports httpx, the standard library and, for the names of files, `service.plan.names`: nothing that is heavy.
"""
