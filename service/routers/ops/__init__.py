"""Routes and models for operators: health, metrics and devices."""
