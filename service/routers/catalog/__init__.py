"""Routes and models of experiments, datasets, their frames and uploads."""
