"""Backups: the tables as of one moment and the objects that they name, in one archive; and their restoration."""
