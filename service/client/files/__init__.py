"""Folders of local files: what is in them, what the service has of it already, and uploading the rest."""
