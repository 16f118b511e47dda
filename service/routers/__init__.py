"""The HTTP API, one room per part of it; request and response models are beside their routes."""
