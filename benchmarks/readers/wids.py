"""wids, of webdataset: tars by position, through its index file."""

from pathlib import Path
from typing import Any

from wids import ShardListDataset

from benchmarks.readers.common import PerItem, Samples, Variant, decoded

__all__ = ["variants"]


def variants(samples: Samples) -> dict[str, Variant]:
    """Returns its data set; it copies each shard into its cache when it first opens it."""

    def item(sample: dict[str, Any]) -> dict[str, Any]:
        pictures = {camera: sample[f".{camera}.jpg"].read() for camera in samples.cameras}
        return decoded(pictures, sample[".json"].read())

    (index,) = Path(samples.out).glob("*.json")
    dataset = ShardListDataset(
        str(index), transformations=[item], cache_dir=str(Path(samples.out).with_name("wids"))
    )
    return {"wids": Variant("webdataset", "3 pictures, uint8 HWC; the json", PerItem(dataset))}
