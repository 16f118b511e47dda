"""Rows in PostgreSQL and objects in S3/MinIO or a folder: the only state that the processes share."""
