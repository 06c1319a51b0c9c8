"""MosaicML Streaming: the same encoded pictures in its own shards (MDS)."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.readers.common import BATCH_SIZE, PerItem, Samples, Variant, decoded

__all__ = ["variants"]

_STAND_INS = {
    "torchvision": "",
    "torchvision.datasets": "VisionDataset",
    "torchvision.transforms": "",
    "torchvision.transforms.functional": "to_tensor",
    "transformers": "",
    "transformers.feature_extraction_utils": "BatchFeature",
    "transformers.models": "",
    "transformers.models.auto": "",
    "transformers.models.auto.tokenization_auto": "AutoTokenizer",
    "transformers.tokenization_utils_base": "BatchEncoding",
}
"""Module -> the name that ``import streaming`` takes from it, for parts that are not used here:
there is no torchvision for every build of torch."""


def _stand_in() -> None:
    for module, name in _STAND_INS.items():
        sys.modules[module] = ModuleType(module)
        if name:
            setattr(sys.modules[module], name, type(name, (), {}))


def variants(samples: Samples) -> dict[str, Variant]:
    """Converts the samples and returns its data set, read by position in every order.

    Its own iteration did not get through a second pass with forked workers: they wait at a barrier.
    """
    _stand_in()
    from streaming import MDSWriter, StreamingDataset  # noqa: PLC0415  # only after the stand-ins

    folder = Path(samples.out).with_name("mds")
    if not (folder / "index.json").exists():
        columns = dict.fromkeys((*samples.cameras, "json"), "bytes")
        with MDSWriter(out=str(folder), columns=columns, exist_ok=True) as writer:
            for content in samples.contents():
                writer.write(content)

    class Decoded(StreamingDataset):  # type: ignore[misc]  # no types
        def __getitem__(self, position: Any) -> Any:
            content = super().__getitem__(position)
            return decoded({camera: content[camera] for camera in samples.cameras}, content["json"])

    dataset = Decoded(local=str(folder), shuffle=False, batch_size=BATCH_SIZE)
    returns = "3 pictures, uint8 HWC; the json; by position also in order"
    return {"streaming": Variant("mosaicml-streaming", returns, PerItem(dataset))}
