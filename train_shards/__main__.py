"""``python -m train_shards OUT …``: says what outputs hold and reads a few items back."""

import itertools
import os
import sys

import numpy as np

from train_shards.dataset import ShardDataset
from train_shards.errors import EXIT_STATUS
from train_shards.joined import JoinedDataset
from train_shards.manifest import load_manifest

_NUM_ITEMS = 3


def main() -> int:
    """Prints a summary of each output, and a few items evenly spread over all of them.

    Returns the exit status.
    """
    outs = sys.argv[1:]
    if not outs or any(out.startswith("-") for out in outs):
        print("usage: python -m train_shards OUT [OUT …]", file=sys.stderr)
        return 2
    try:
        for out in outs:
            print(_summary(out))
        members = [ShardDataset(out) for out in outs]
        dataset = JoinedDataset(members) if len(members) > 1 else members[0]
        for position in _positions(dataset):
            print(f"item {position}")
            for name, value in sorted(dataset[position].items()):
                is_array = isinstance(value, np.ndarray)
                print(f"  {name}: {f'{value.dtype} {value.shape}' if is_array else repr(value)}")
        sys.stdout.flush()
    except BrokenPipeError:  # as with `| head`: nobody reads on
        # Python would write what is left once more when it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except tuple(EXIT_STATUS) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_STATUS[type(error)]
    return 0


def _positions(dataset: ShardDataset | JoinedDataset) -> list[int]:
    """Evenly spread ones; those of one run where its samples alone are stored."""
    if isinstance(dataset, ShardDataset) and dataset.run_scope is not None:
        first = dataset.first_position
        return [first, *itertools.islice(dataset.run_scope.stand_ins(first), _NUM_ITEMS - 1)]
    positions: list[int] = np.linspace(0, len(dataset) - 1, _NUM_ITEMS).astype(int).tolist()
    return positions


def _summary(out: str) -> str:
    manifest = load_manifest(out)
    totals, state = manifest.totals, "complete" if manifest.complete else "INCOMPLETE"
    dropped = f", {len(manifest.dropped)} dropped" if manifest.dropped else ""
    run = f", those of one run: {manifest.run_scope}" if manifest.run_scope else ""
    return (
        f"{out}: {totals.num_samples} samples of {totals.num_episodes} episodes in "
        f"{totals.num_shards} shards, {state}{dropped}{run}"
    )


if __name__ == "__main__":
    sys.exit(main())
