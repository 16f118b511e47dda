"""`python -m service` is the `reelmill` command."""

from service.cli import main

if __name__ == "__main__":
    main()
