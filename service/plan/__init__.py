"""Planning: request + facts -> a frozen RenderPlan. Pure functions; standard library and settings only."""
