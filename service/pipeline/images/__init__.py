"""Decodes image files (JPEG, PNG, WebP, TIFF) and reads their headers."""
