"""How long a test waits for what must come."""

# Far longer than it takes, and shorter than the end that pytest-timeout puts to a test: on a machine that is busy a
# render of seconds takes minutes, and that is no failure.
PATIENCE_S = 240.0
