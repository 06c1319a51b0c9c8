"""A small trainer with the module names and look-ups of openpi-comet and openpi, as text.

Source of the look-ups: openpi-comet 9ea908c and openpi 15a9616, ``behavior_dataset``,
``behavior_skill_dataset``, ``data_loader`` and ``scripts/train_pytorch.py``. It trains nothing: a
rank writes down which samples a step got, and what its workers had imported.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

FORBIDDEN = ("av", "omnigibson", "lerobot", "torchvision", "torchcodec", "ray", "predecode")

FILES = {
    "openpi/__init__.py": "",
    "openpi/training/__init__.py": "",
    "openpi/training/config.py": '''
import argparse, dataclasses, pathlib

@dataclasses.dataclass(frozen=True)
class TrainConfig:
    name: str
    exp_name: str
    checkpoint_base_dir: str = "./outputs/checkpoints"
    batch_size: int = 32
    num_workers: int = 0
    num_train_steps: int = 25
    save_interval: int = 4
    seed: int = 42
    resume: bool = False
    loader: str = "plain"
    die_at: int = -1
    pause_s: float = 0.0

    @property
    def checkpoint_dir(self):
        return (pathlib.Path(self.checkpoint_base_dir) / self.exp_name).resolve()

def cli():
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--resume", action="store_true")
    for field in dataclasses.fields(TrainConfig):
        if field.name not in ("name", "resume"):
            parser.add_argument("--" + field.name, type=field.type, default=field.default)
    return TrainConfig(**vars(parser.parse_args()))
''',
    "openpi/training/behavior_dataset.py": '''
def create_behavior_dataset(config, action_horizon):
    from behavior.learning.datas.dataset import BehaviorLeRobotDataset
    from openpi.training.behavior_skill_dataset import BehaviorLeRobotSkillDataset

    skill = config.name == "skill"
    return (BehaviorLeRobotSkillDataset if skill else BehaviorLeRobotDataset)(
        repo_id="behavior-1k/2025-challenge-demos", root="data/b1k", tolerance_s=1e-4, tasks=None,
        modalities=["rgb"], local_only=True, check_files=False, check_timestamp_sync=False,
        delta_timestamps={"action": [t / 30.0 for t in range(action_horizon)]}, episodes=[1],
        chunk_streaming_using_keyframe=True, shuffle=True, fine_grained_level=0,
        return_seg_instance=False, train_rgb_type="regular",
    )
''',
    "openpi/training/behavior_skill_dataset.py": '''
from behavior.learning.datas.dataset import BehaviorLeRobotDataset

class BehaviorLeRobotSkillDataset(BehaviorLeRobotDataset):
    def __getitem__(self, idx):
        item = super().__getitem__(idx)
        item["task"] = f"skill at {round(item['timestamp'].item() * self.fps)} of {self.root}"
        return item
''',
    "openpi/training/data_loader.py": '''
import multiprocessing, os, sys
import torch
from openpi.training import behavior_dataset

FORBIDDEN = os.environ["STANDIN_FORBIDDEN"].split()

class TransformedDataset:
    def __init__(self, dataset):
        self._dataset = dataset

    def __getitem__(self, index):
        item = self._dataset[index]
        return {
            "sample": (int(item["episode_index"].item()), int(item["index"].item())),
            "action": tuple(item["action"].shape), "task": item["task"],
            "loaded": [name for name in FORBIDDEN if name in sys.modules],
            "marked": os.environ.get("STANDIN_MARK_OF", "") == str(os.getpid()),
            "in_worker": torch.utils.data.get_worker_info() is not None,
        }

    def __len__(self):
        return len(self._dataset)

class IterableAround(torch.utils.data.IterableDataset):
    def __init__(self, dataset):
        self._dataset = dataset

    def __iter__(self):
        return iter(self._dataset[i] for i in range(len(self._dataset)))

def collate(items):
    return items

class TorchDataLoader:
    def __init__(self, dataset, batch_size, *, shuffle, sampler, num_workers, seed):
        generator = torch.Generator()
        generator.manual_seed(seed)
        self._sampler = sampler
        method = os.environ.get("STANDIN_START", "spawn")
        self._data_loader = torch.utils.data.DataLoader(
            dataset, batch_size=batch_size, shuffle=(sampler is None and shuffle), sampler=sampler,
            num_workers=num_workers, persistent_workers=num_workers > 0, collate_fn=collate,
            multiprocessing_context=multiprocessing.get_context(method) if num_workers else None,
            drop_last=True, generator=generator,
        )

    def __len__(self):
        return len(self._data_loader)

    def __iter__(self):
        epoch = 0
        while True:
            if self._sampler is not None:
                self._sampler.set_epoch(epoch)
            data_iter = iter(self._data_loader)
            while True:
                try:
                    batch = next(data_iter)
                except StopIteration:
                    break
                yield batch
            epoch += 1

def create_data_loader(config, shuffle):
    dataset = TransformedDataset(behavior_dataset.create_behavior_dataset(config, 32))
    if config.loader == "none":
        return [[dataset[0]]] * 1000
    if config.loader == "iterable":
        around = IterableAround(dataset)
        return torch.utils.data.DataLoader(around, batch_size=4, collate_fn=collate)
    if config.loader == "batch_sampler":
        batches = [[0, 1], [2, 3]]
        return torch.utils.data.DataLoader(dataset, batch_sampler=batches, collate_fn=collate)
    sampler, world_size = None, 1
    if torch.distributed.is_initialized():
        world_size = torch.distributed.get_world_size()
        sampler = torch.utils.data.distributed.DistributedSampler(
            dataset, num_replicas=world_size, rank=torch.distributed.get_rank(), shuffle=shuffle,
            drop_last=True,
        )
    return TorchDataLoader(
        dataset, config.batch_size // world_size, shuffle=shuffle, sampler=sampler,
        num_workers=config.num_workers, seed=config.seed,
    )
''',
    "scripts/helper.py": "NAME = 'beside the script'\n",
    "scripts/train_pytorch.py": '''
import json, logging, os, pathlib, sys, time
import torch
import torch.distributed as dist
import helper
import openpi.training.config as _config
import openpi.training.data_loader as _data

def save_checkpoint(config, step):
    final, tmp = config.checkpoint_dir / str(step), config.checkpoint_dir / f"tmp_{step}"
    tmp.mkdir(parents=True)
    (tmp / "metadata.pt").write_text(str(step))
    tmp.rename(final)

def main():
    logging.basicConfig(level=logging.INFO)
    config = _config.cli()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        dist.init_process_group("gloo", init_method="env://")
    rank = dist.get_rank() if dist.is_initialized() else 0
    step = 0
    if config.resume:
        names = [entry.name for entry in config.checkpoint_dir.iterdir() if entry.is_dir()]
        step = max(int(name) for name in names if name.isdigit())
    elif rank == 0:
        config.checkpoint_dir.mkdir(parents=True, exist_ok=True)
    loader = _data.create_data_loader(config, shuffle=config.loader != "sequence")
    seen = pathlib.Path(os.environ["STANDIN_SEEN"])
    with (seen / f"rank{rank}.jsonl").open("a") as file:
        while step < config.num_train_steps:
            for batch in loader:
                if step >= config.num_train_steps:
                    break
                parent = [name for name in _data.FORBIDDEN if name in sys.modules]
                line = {"step": step, "length": len(loader), "parent": parent, "batch": batch}
                print(json.dumps(line), file=file, flush=True)
                step += 1
                time.sleep(config.pause_s)
                if step == config.die_at:
                    if dist.is_initialized():
                        dist.barrier()
                    os._exit(9)
                if step % config.save_interval == 0:
                    if rank == 0:
                        save_checkpoint(config, step)
                    if dist.is_initialized():
                        dist.barrier()
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()

if __name__ == "__main__":
    main()
''',
    "scripts/train_openpi.py": '''
import json, multiprocessing, os, pathlib, sys
import torch
import lerobot.common.datasets.lerobot_dataset as lerobot_dataset

FORBIDDEN = [name for name in os.environ["STANDIN_FORBIDDEN"].split() if name != "lerobot"]

class TransformedDataset:
    def __init__(self, dataset, tasks):
        self._dataset, self._tasks = dataset, tasks

    def __getitem__(self, index):
        item = self._dataset[index]
        return {
            "sample": (int(item["episode_index"]), int(item["frame_index"])),
            "head": item[os.environ["STANDIN_HEAD"]].shape, "action": tuple(item["action"].shape),
            "task": self._tasks[int(item["task_index"])] == item["task"],
            "loaded": [name for name in FORBIDDEN if name in sys.modules],
            "files": [module.__file__ for name, module in sys.modules.items()
                if name.startswith("lerobot") and getattr(module, "__file__", None)],
            "in_worker": torch.utils.data.get_worker_info() is not None,
        }

    def __len__(self):
        return len(self._dataset)

def collate(items):
    return items

if __name__ == "__main__":
    num_workers = int(sys.argv[1])
    meta = lerobot_dataset.LeRobotDatasetMetadata("physical-intelligence/libero")
    dataset = lerobot_dataset.LeRobotDataset(
        "physical-intelligence/libero",
        delta_timestamps={key: [t / meta.fps for t in range(7)] for key in ("action",)},
    )
    loader = torch.utils.data.DataLoader(
        TransformedDataset(dataset, meta.tasks), batch_size=16, shuffle=True, drop_last=True,
        num_workers=num_workers, collate_fn=collate,
        multiprocessing_context=multiprocessing.get_context("spawn") if num_workers else None,
        generator=torch.Generator().manual_seed(7),
    )
    with (pathlib.Path(os.environ["STANDIN_SEEN"]) / "rank0.jsonl").open("w") as file:
        for step, batch in zip(range(4), loader):
            print(json.dumps({"step": step, "batch": batch}), file=file)
''',
    # What must never be imported, and what must not be shadowed.
    "real/behavior/learning/datas/dataset.py": '''
import omnigibson
''',
    "real/omnigibson.py": "raise ImportError('omnigibson was imported')\n",
    "real/lerobot/__init__.py": "",
    "real/lerobot/common/__init__.py": "",
    "real/lerobot/common/datasets/__init__.py": "",
    "real/lerobot/common/datasets/lerobot_dataset.py": "import av\n",
    "own/sitecustomize.py": '''
import os
os.environ["STANDIN_MARK_OF"] = str(os.getpid())
''',
}  # fmt: skip


class StandinTrainer:
    """The trainer in a folder, and what a run of it wrote down."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen = folder, folder / "seen"
        for name, text in FILES.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.seen.mkdir()

    def run(
        self, *words: str | Path | int, ranks: int = 1, real: bool = True, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """Runs the launcher with ``words``; ``real``: the modules that are replaced exist."""
        torchrun = ["torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}", "-m"]
        path = [ROOT, self.folder, self.folder / "own", *([self.folder / "real"] if real else [])]
        return subprocess.run(
            [
                sys.executable, "-m", *(torchrun if ranks > 1 else []), "train_shards.launch",
                *map(str, words),
            ],
            cwd=self.folder, capture_output=True, text=True, check=False, timeout=240,
            env={
                **os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)),
                "STANDIN_SEEN": str(self.seen), "STANDIN_FORBIDDEN": " ".join(FORBIDDEN),
                "OMP_NUM_THREADS": "1",
                **variables,
            },
        )  # fmt: skip

    def steps(self, rank: int = 0) -> list[dict[str, Any]]:
        """What a rank wrote down, in the order of its steps; all runs one after the other."""
        lines = (self.seen / f"rank{rank}.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def forget(self) -> None:
        """Removes what was written down."""
        for path in self.seen.iterdir():
            path.unlink()
