"""The environment in which LeRobot itself writes and reads data sets, and how scripts run in it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.environments import Environment

__all__ = ["IMPORT_LEROBOT", "LEROBOT", "ask"]

LEROBOT = Environment("lerobot", (
    "lerobot==0.4.4", "av==18.1.0", "certifi==2026.10.18", "charset-normalizer==3.5.2",
    "datasets==4.1.1", "dill==0.4.1", "huggingface_hub==0.35.3", "idna==3.20",
    "multiprocess==0.70.19", "packaging==26.3", "pandas==3.1.1", "pillow==13.0.0",
    "pyarrow==26.0.1", "python-dateutil==2.9.0.post0", "PyYAML==6.0.3", "requests==2.34.2",
    "six==1.17.0", "torchcodec==0.13.0", "tqdm==4.70.1", "urllib3==2.8.0", "xxhash==4.1.0",
))  # fmt: skip
"""The newest for Python 3.11, with what its data sets need to be imported, written and read.

It asks for huggingface_hub below 0.36; datasets 4.3.0 and later would add httpx.
"""

IMPORT_LEROBOT = """
import json, sys, types, warnings
from importlib.machinery import ModuleSpec
from pathlib import Path

import datasets, numpy as np, torch

class ToTensor:
    def __call__(self, picture):
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float().div(255)

def stand_in(name, **names):
    module = types.ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.__dict__.update(names)
    sys.modules[name] = module
    return module

# LeRobot imports them; of all of it only ToTensor is used here. After datasets, which looks for
# them itself.
v2 = stand_in("torchvision.transforms.v2", Transform=object)
transforms = stand_in("torchvision.transforms", ToTensor=ToTensor, v2=v2)
stand_in("torchvision", transforms=transforms)
stand_in("accelerate", Accelerator=object)
from lerobot.datasets import utils
from lerobot.datasets.lerobot_dataset import LeRobotDataset

def save_episode(dataset):
    for values in dataset.episode_buffer.values():
        if isinstance(values, list) and values and np.shape(values[0]) == (1,):
            # since NumPy 2.4, datasets wants the number itself
            values[:] = [value[0] for value in values]
    dataset.save_episode()

home = Path(sys.argv[1])
asked = json.loads((home / "asked.json").read_text())
"""


def ask(home: Path, script: str, asked: Mapping[str, Any]) -> str:
    """Runs a script that finds ``asked`` in a folder; returns what it printed."""
    (home / "asked.json").write_text(json.dumps(asked))
    done = LEROBOT.run(
        "python", "-I", "-c", IMPORT_LEROBOT + script, home,
        HOME=str(home), HF_HOME=str(home / "hub"), HF_HUB_OFFLINE="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
