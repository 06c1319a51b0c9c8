"""``python -m predecode``: the command line."""

from predecode.cli import main

if __name__ == "__main__":
    main()
