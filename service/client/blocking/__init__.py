"""The client for scripts and notebooks: the same classes, whose methods return when they are done."""
