"""The OpenAPI 3.1 and 3.0.3 documents and the pages that show them."""
