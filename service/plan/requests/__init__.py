"""From the request for a render to its plan: datasets, canonical options, panels of a grid. Pure functions."""
