"""LitData: the same encoded pictures in its own chunk files."""

from pathlib import Path
from typing import Any

from litdata import StreamingDataset
from litdata.streaming.writer import BinaryWriter

from benchmarks.readers.common import PerItem, Samples, Variant, decoded

__all__ = ["variants"]


def variants(samples: Samples) -> dict[str, Variant]:
    """Converts the samples and returns its data set: iterated in order, indexed at random."""
    folder = Path(samples.out).with_name("litdata")
    if not (folder / "index.json").exists():
        folder.mkdir(exist_ok=True)
        writer = BinaryWriter(str(folder), chunk_bytes="64MB")
        for number, content in enumerate(samples.contents()):
            writer[number] = content
        writer.done()
        writer.merge()

    class Decoded(StreamingDataset):  # type: ignore[misc]  # no types
        def __getitem__(self, position: Any) -> Any:
            content = super().__getitem__(position)
            return decoded({camera: content[camera] for camera in samples.cameras}, content["json"])

    by_position, stream = (Decoded(str(folder), shuffle=False, drop_last=False) for _ in range(2))
    returns = "3 pictures, uint8 HWC; the json"
    return {"litdata": Variant("litdata", returns, PerItem(by_position), stream)}
