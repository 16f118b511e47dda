"""`python -m service` is the `reelmill` command."""

import sys

if sys.argv[1:2] in (["api"], ["worker"]):
    # structlog draws tracebacks with rich where it finds it: 4 MB that processes which log JSON do not need.
    sys.modules["rich"] = None  # type: ignore[assignment]

from service.cli.main import main

if __name__ == "__main__":
    main()
