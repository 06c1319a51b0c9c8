"""``train_shards.dataset.ShardDataset``, item by item and in batches."""

from benchmarks.readers.common import PerItem, Samples, Variant
from train_shards.dataset import ShardDataset

__all__ = ["variants"]


def variants(samples: Samples) -> dict[str, Variant]:
    """Returns the data set as users have it, with one thread, and of what the others read."""
    one, two = ShardDataset(samples.out, num_threads=1), ShardDataset(samples.out)
    alone = ShardDataset(samples.out, num_threads=1, columns=())
    num_columns = len(one[0]) - len(samples.cameras)
    returns = f"3 pictures, uint8 HWC; {num_columns} columns, state and action among them"
    return {
        "ours, item": Variant("predecode", returns, PerItem(one)),
        "ours, batch": Variant("predecode", returns, one),
        "ours, batch, no columns": Variant("predecode", "3 pictures, uint8 HWC; 4 ids", alone),
        "ours, batch, 2 threads": Variant("predecode", returns, two, num_threads=2),
    }
