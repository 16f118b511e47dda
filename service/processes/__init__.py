"""The processes of the service: how the API, the worker and the migration are composed and started."""
