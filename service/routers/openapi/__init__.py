"""The documents of the API: the native OpenAPI 3.1 one, completed, and its 3.0.3 form."""
