"""The service under test: whole, as single processes or in this process, and steps of its clients."""
