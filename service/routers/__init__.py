"""The HTTP API: a package per part of it, with request and response models beside their routes."""
