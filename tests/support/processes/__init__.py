"""The service under test: whole, as single processes or inside this process, and what its clients do."""
