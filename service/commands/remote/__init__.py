"""Commands that ask a running service, through its client."""
