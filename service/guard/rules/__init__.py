"""One small named rule after another; `policy` has them in order."""
