"""webdataset: tars as a stream."""

from typing import Any

import webdataset

from benchmarks.readers.common import Samples, Variant, decoded

__all__ = ["variants"]


def variants(samples: Samples) -> dict[str, Variant]:
    """Returns its plain pipeline; it has no random access."""

    def item(sample: dict[str, Any]) -> dict[str, Any]:
        return decoded(
            {camera: sample[f"{camera}.jpg"] for camera in samples.cameras}, sample["json"]
        )

    shards = list(dict.fromkeys(row["shard"] for row in samples.rows))
    stream = webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).map(item)
    return {"webdataset": Variant("webdataset", "3 pictures, uint8 HWC; the json", stream=stream)}
