"""Files that crash, hang, balloon or lie, made by a script: the same bytes each time."""
