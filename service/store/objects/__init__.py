"""The object store: its interface, a folder driver, an S3 driver, and the keys of our objects."""
