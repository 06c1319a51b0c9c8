"""The environment in which LeRobot itself writes and reads data sets."""

from tests.support.environments import Environment

__all__ = ["LEROBOT"]

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
