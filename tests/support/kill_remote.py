"""A run on an object store in a process that may be killed; a program, so that it may fork.

``python -m tests.support.kill_remote ROOT STAGING`` runs to each URL on standard input in a child,
whose process id it prints first; then how that ended.
"""

import os
import sys
from pathlib import Path

from predecode.remote_place import place_of
from tests.support.jobs import run_here
from tests.support.kill_anywhere import OPTIONS


def main(root: Path, staging: Path) -> None:
    for url in sys.stdin:
        child = os.fork()
        if child == 0:
            with place_of(url.strip(), staging) as place:
                run_here(root, place, **OPTIONS)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
