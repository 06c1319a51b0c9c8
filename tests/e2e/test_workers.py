"""In torch's DataLoader workers: the right items, and no decoder in the process."""

import multiprocessing
import sys
from pathlib import Path
from typing import Any

import pytest
import torch.utils.data

from predecode.sources.barcode import CAMERAS, Identity, read
from train_shards.dataset import IMAGE_KEY, ShardDataset

pytestmark = pytest.mark.slow

DECODERS = ("av", "torchcodec", "torchvision", "ray", "predecode")


class Spying(torch.utils.data.Dataset[dict[str, Any]]):
    """Serves items with the decoders that this process has imported."""

    def __init__(self, out: Path) -> None:
        self.items = ShardDataset(out)

    def __len__(self) -> int:
        return len(self.items)

    def __getitems__(self, positions: list[int]) -> list[dict[str, Any]]:
        loaded = [name for name in DECODERS if name in sys.modules]
        return [{**item, "loaded": loaded} for item in self.items.__getitems__(positions)]


def keep(batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return batch


SCRIPT = """
import sys, torch.utils.data, multiprocessing
from train_shards.dataset import ShardDataset

DECODERS = ("av", "torchcodec", "torchvision", "ray", "predecode")

class Spying:
    def __init__(self, out):
        self.items = ShardDataset(out)
    def __len__(self):
        return len(self.items)
    def __getitems__(self, positions):
        loaded = [name for name in DECODERS if name in sys.modules]
        return [(int(i["sample_index"]), loaded) for i in self.items.__getitems__(positions)]

def keep(batch):
    return batch

if __name__ == "__main__":
    dataset = Spying(sys.argv[1])
    dataset.items[0]  # read in the parent first: open files must not trouble the workers
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=64, num_workers=2, collate_fn=keep,
        multiprocessing_context=sys.argv[2],
    )
    seen = [pair for batch in loader for pair in batch]
    print(sorted(i for i, _ in seen) == list(range(len(dataset))), len(seen))
    print(sorted({name for _, loaded in seen for name in loaded}))
    print([name for name in DECODERS if name in sys.modules])
"""


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_no_decoder_is_in_a_worker(jpeg_shards: Path, tmp_path: Path, method: str) -> None:
    import subprocess

    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(jpeg_shards), method],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split("\n")[:3] == ["True 1712", "[]", "[]"], done.stdout + done.stderr


def test_the_spy_can_see_a_decoder(jpeg_shards: Path) -> None:
    """The check above is one that can fail: this process has decoders, and so have its forks."""
    import av

    assert av.__name__ in sys.modules
    loader = torch.utils.data.DataLoader(
        Spying(jpeg_shards),
        batch_size=32,
        num_workers=1,
        collate_fn=keep,
        multiprocessing_context=multiprocessing.get_context("fork"),
    )
    items = next(iter(loader))
    assert {"av", "predecode"} <= set(items[0]["loaded"])
    for item in items:
        for camera in CAMERAS:
            identity = Identity(int(item["episode_index"]), int(item["frame_index"]), camera)
            assert read(item[IMAGE_KEY + camera]) == identity
