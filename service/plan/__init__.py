"""Request plus catalogue facts -> a frozen RenderPlan. Pure functions, standard library only."""
