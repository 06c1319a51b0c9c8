"""``python -m train_shards OUT``: says what an output holds and reads a few items back."""

import sys

import numpy as np

from train_shards.dataset import ShardDataset
from train_shards.errors import EXIT_STATUS
from train_shards.manifest import load_manifest

_NUM_ITEMS = 3


def main() -> int:
    """Prints a summary and a few items evenly spread over the data set; returns the exit status."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print("usage: python -m train_shards OUT", file=sys.stderr)
        return 2
    try:
        out = sys.argv[1]
        manifest = load_manifest(out)
        dataset = ShardDataset(out)
        totals, state = manifest.totals, "complete" if manifest.complete else "INCOMPLETE"
        print(
            f"{out}: {totals.num_samples} samples of {totals.num_episodes} episodes in "
            f"{totals.num_shards} shards, {state}"
        )
        for position in np.linspace(0, len(dataset) - 1, _NUM_ITEMS).astype(int).tolist():
            print(f"item {position}")
            for name, value in sorted(dataset[position].items()):
                is_array = isinstance(value, np.ndarray)
                print(f"  {name}: {f'{value.dtype} {value.shape}' if is_array else repr(value)}")
    except tuple(EXIT_STATUS) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_STATUS[type(error)]
    return 0


if __name__ == "__main__":
    sys.exit(main())
