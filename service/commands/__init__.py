"""The commands of the `reelmill` command line, one file each; `service.cli` declares their options."""
