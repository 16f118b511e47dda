"""The `reelmill` command line: the options of each command, and errors turned into exit codes."""
