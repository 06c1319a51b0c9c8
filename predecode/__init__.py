"""The writing side: decode a video data set once into WebDataset shards.

The calls are the commands: ``run``, ``plan``, ``verify``, ``retry``, ``drop`` and ``sample`` take a
command's options as keyword arguments and return what it found. None of them is imported before
it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from train_shards.errors import DataError, StorageError, UserError

if TYPE_CHECKING:
    from predecode.api.drop import drop
    from predecode.api.plan import plan
    from predecode.api.retry import retry
    from predecode.api.run import run
    from predecode.api.sample import sample
    from predecode.api.settings_file import read_settings
    from predecode.api.verify import verify
    from predecode.errors import InfraError

__all__ = [
    "DataError",
    "InfraError",
    "StorageError",
    "UserError",
    "drop",
    "plan",
    "read_settings",
    "retry",
    "run",
    "sample",
    "verify",
]

_MODULES = {
    "InfraError": "errors",
    "drop": "api.drop",
    "plan": "api.plan",
    "read_settings": "api.settings_file",
    "retry": "api.retry",
    "run": "api.run",
    "sample": "api.sample",
    "verify": "api.verify",
}
"""What is imported when it is first asked for -> where it stands."""

if not TYPE_CHECKING:  # a type checker knows every name, and no others

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module 'predecode' has no attribute {name!r}")
        return getattr(import_module(f"predecode.{_MODULES[name]}"), name)
