"""Routes and models of experiments, datasets, frames and uploads."""
