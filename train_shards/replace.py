"""The import hook: modules of a trainer's data set, supplied from here in every process.

``install`` puts it into this process. Forked workers have it by inheritance; a spawned one gets it
with the first thing that it reads from its parent, before it imports the training script and before
the data set is unpickled, whatever ``sitecustomize`` or PYTHONPATH its environment has. Light on
purpose: every worker imports this file, and only what the trainer asks for after it.
"""

import importlib
import multiprocessing.spawn
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["after_import", "install", "is_served"]

_LEROBOT = ("train_shards.lerobot", ("LeRobotDataset", "LeRobotDatasetMetadata"))
SUPPLIED: dict[str, tuple[str, tuple[str, ...]]] = {
    "behavior.learning.datas.dataset": (
        "train_shards.behavior",
        ("BehaviorLeRobotDataset", "MultiBehaviorLeRobotDataset"),
    ),
    "lerobot.common.datasets.lerobot_dataset": _LEROBOT,
    "lerobot.datasets.lerobot_dataset": _LEROBOT,
}
"""Module asked for -> our module, and the names that are taken from it.

Source: openpi-comet 9ea908c (``create_behavior_dataset``, ``behavior_skill_dataset``) and openpi
15a9616 (``data_loader``); LeRobot moved its package from ``lerobot.common.datasets`` later.
"""

_PARENTS = {
    ".".join(name.split(".")[:depth])
    for name in SUPPLIED
    for depth in range(1, name.count(".") + 1)
}


class _Supplier(MetaPathFinder, Loader):
    """First of all finders: an installed module of the same name is never looked at."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        return ModuleSpec(fullname, self, origin="predecode") if fullname in SUPPLIED else None

    def create_module(self, spec: ModuleSpec) -> None:
        del spec

    def exec_module(self, module: ModuleType) -> None:
        source, names = SUPPLIED[module.__name__]
        for name in names:
            setattr(module, name, getattr(importlib.import_module(source), name))


class _MissingParents(MetaPathFinder):
    """Last of all finders: empty packages where the trainer's environment lacks the real ones."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        return ModuleSpec(fullname, None, is_package=True) if fullname in _PARENTS else None


class _Installer:
    """Installs the hook in the process that unpickles it."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return install, ()


def install() -> None:
    """Supplies the modules in this process and in all that it starts by multiprocessing.

    Has no effect the second time.
    """
    if any(isinstance(finder, _Supplier) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Supplier())
    sys.meta_path.append(_MissingParents())
    original = multiprocessing.spawn.get_preparation_data

    def with_hook(name: str) -> dict[str, Any]:
        # What spawn and forkserver send to a child first of all; it ignores unknown keys.
        # Source: CPython 3.11, multiprocessing/spawn.py.
        return {**original(name), "predecode": _Installer()}

    multiprocessing.spawn.get_preparation_data = with_hook


def after_import(name: str, action: Callable[[ModuleType], None]) -> None:
    """Calls ``action`` with the module ``name``: now if it is imported, else once it has been."""
    if name in sys.modules:
        action(sys.modules[name])
    else:
        sys.meta_path.insert(0, _Watcher(name, action))


class _Watcher(MetaPathFinder):
    """Lets the other finders find one module, and looks at it when it has run."""

    def __init__(self, name: str, action: Callable[[ModuleType], None]) -> None:
        self._name, self._action = name, action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            self._action(module)

        # On the loader itself: its class, and with it inspect and importlib.resources, stay as is.
        setattr(spec.loader, "exec_module", exec_module)  # noqa: B010
        return spec


def is_served(value: object) -> bool:
    """Whether ``value`` is a data set of a class that was supplied, or of a subclass of one."""
    classes = tuple(
        getattr(sys.modules[source], name)
        for source, names in SUPPLIED.values()
        if source in sys.modules
        for name in names
    )
    return isinstance(value, classes)
