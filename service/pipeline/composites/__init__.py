"""Output frames made of several source frames: bins of one sequence, grids of several."""
