"""``python -m predecode`` and ``predecode``: the command line, where its libraries are there."""

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Runs the command line, or says which extra brings it."""
    try:
        from predecode import cli
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("predecode"):
            raise
        print(
            f"error: predecode: {error}. The commands need the extra [run], which a training node "
            "does without: pip install 'predecode[run]'",
            file=sys.stderr,
        )
        sys.exit(2)
    cli.main()


if __name__ == "__main__":
    main()
