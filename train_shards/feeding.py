"""The trainer's DataLoader over a supplied data set: our sampler in it, at the right place.

torch's own class is changed in place once the trainer imports it, so that it does not matter by
which name a script reaches it. Everything but the sampler stays as the trainer asked; where there
are workers, the next batch is brought to the trainer's process while it uses this one.
"""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal, Self
from weakref import WeakKeyDictionary

from train_shards.errors import UserError
from train_shards.feed_canary import FeedCanary
from train_shards.feed_line import FEED_FILE, FeedLine, last_before
from train_shards.replace import after_import, is_served
from train_shards.run_folder import RunFolder, planned_steps
from train_shards.run_scope import check_run
from train_shards.sampling import ResumableSampler, world

__all__ = ["BroughtAhead", "EpochSampler", "Feeding", "Pass"]

_DEFAULT_SEED = 42
"""Where the trainer gives its loader no generator. Source: TrainConfig of both trainers."""
_DEPTH = 8
"""Wrappers that are looked through for the data set."""
_MOST_MEMBERS = 1000
"""Of a collection, in the same search."""
_IN_SEQUENCE = "its reading in sequence"


class EpochSampler(ResumableSampler):
    """Counts epochs by finished passes, because the trainer tells it nothing.

    ``len`` is that of a whole epoch also where the rest of one is left: trainers compute their
    steps from it. The trainer's ``set_epoch`` is ignored: it counts from 0 after a resume.
    """

    def go_to(self, epoch: int, consumed: int) -> None:
        """The next pass begins there."""
        super().set_epoch(epoch)
        self.consumed = consumed

    def set_epoch(self, epoch: int) -> None:
        """Does nothing."""

    def finish(self, epoch: int) -> None:
        """Says that ``epoch`` was read to its end: the next pass belongs to the next one."""
        if epoch == self.epoch:
            self.go_to(epoch + 1, 0)

    def __len__(self) -> int:
        """Number of samples that this rank gets of a whole epoch."""
        return self.num_left(0)


class BroughtAhead:
    """The batches of a loader with workers; a thread has the next one brought while one is used.

    A batch of arrays comes from its worker through a pipe, as long as somebody reads it.
    """

    def __init__(self, batches: Iterator[Any], pool: ThreadPoolExecutor) -> None:
        """Takes what the loader returned, and one thread."""
        self._batches, self._pool = batches, pool
        self._coming = pool.submit(next, batches)

    def __iter__(self) -> Self:
        """Returns itself."""
        return self

    def __next__(self) -> Any:
        """Returns the next batch; raises what the loader does, and goes on as it does."""
        coming, self._coming = self._coming, self._pool.submit(next, self._batches)
        return coming.result()


class Pass:
    """One pass over a loader; only one that is read to its end finishes the epoch."""

    def __init__(
        self,
        loader: Iterator[Any],
        batches: Iterator[Any],
        sampler: EpochSampler,
        canary: FeedCanary | None,
    ) -> None:
        """Begins a pass.

        Args:
            loader: what the loader itself returned.
            batches: of it.
            sampler: of the loader.
            canary: what compares batches.
        """
        self._loader, self._batches = loader, batches
        self._sampler, self._canary = sampler, canary
        self._epoch, self._consumed, self._num_batches = sampler.epoch, sampler.consumed, 0

    def __iter__(self) -> Self:
        """Returns itself."""
        return self

    def __next__(self) -> Any:
        """Returns the next batch."""
        try:
            batch = next(self._batches)
        except StopIteration:
            # Not where the sampler ends: workers have fetched that far before the trainer has.
            self._sampler.finish(self._epoch)
            raise
        if self._canary is not None:
            place = self._epoch, self._consumed
            self._canary.watch(self._num_batches, self._sampler, place)
        self._num_batches += 1
        return batch

    def __len__(self) -> int:
        """As the loader's own iterator says."""
        return len(self._loader)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        """Everything else is the loader's own iterator's."""
        return getattr(self._loader, name)


@dataclass
class Feeding:
    """How the loaders of this process are fed."""

    data: str
    """``shards`` or ``online``."""
    source: str
    backend: str = ""
    seed: int | None = None
    """None for that of the loader's generator."""
    shuffle: Literal["global", "block", "none"] | None = None
    """None for the data set's own order, or ``global``."""
    resume_step: int | None = None
    run_dir: str | None = None
    canary_every: int = 0
    """Batches; 0 for no canary."""
    canary_root: str | None = None
    canary_python: str | None = None
    script_words: tuple[str, ...] = ()
    num_loaders: int = 0
    """Over a supplied data set so far."""
    num_fed: int = 0
    """Of these, how many have our sampler."""
    canaries: dict[int, FeedCanary] = field(default_factory=dict)
    """Of the samplers, by identity: a sampler travels to workers, a canary does not."""
    config: Any = None
    """The trainer's own, as its ``cli()`` returned it last."""

    def install(self) -> None:
        """Waits for the trainer to import torch's DataLoader and its own configuration."""
        after_import("torch.utils.data.dataloader", self.patch)
        after_import("openpi.training.config", self._watch_config)

    def patch(self, module: ModuleType) -> None:
        """Changes ``module.DataLoader``."""
        loader_class: Any = module.DataLoader
        init, iterate, feed = loader_class.__init__, loader_class.__iter__, self.feed
        canaries = self.canaries
        # Loader with workers -> the thread that fetches its batches.
        pools: WeakKeyDictionary[Any, ThreadPoolExecutor] = WeakKeyDictionary()

        @functools.wraps(init)
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            call = inspect.signature(init).bind(self, *args, **kwargs)
            feed(call.arguments)
            init(*call.args, **call.kwargs)

        @functools.wraps(iterate)
        def __iter__(self: Any) -> Any:  # noqa: N807
            sampler = self.sampler
            if not isinstance(sampler, EpochSampler):
                return iterate(self)
            pool = None
            if self.num_workers:
                pool = pools.setdefault(self, ThreadPoolExecutor(1, "predecode-next-batch"))
                # Workers that persist start anew: not while a batch of an earlier pass is fetched.
                pool.submit(_nothing).result()
            loader = iterate(self)
            batches = loader if pool is None else BroughtAhead(loader, pool)
            return Pass(loader, batches, sampler, canaries.get(id(sampler)))

        loader_class.__init__, loader_class.__iter__ = __init__, __iter__

    def feed(self, arguments: dict[str, Any]) -> None:
        """Puts the sampler into the arguments of a DataLoader over a supplied data set.

        Prints the line that says what feeds the run, and appends it to ``predecode_feed.txt``.

        Raises:
            UserError: a run that resumes, and a sampler that cannot be replaced; a place that
                cannot be told; a data set with an order of its own beside ``shuffle=``; samples
                that are not stored, where one run's alone are.
        """
        served = find_served(arguments["dataset"])
        if served is None or isinstance(arguments.get("sampler"), EpochSampler):
            return
        self.num_loaders += 1
        folder = RunFolder.of(self.script_words, config=self.config, run_dir=self.run_dir)
        step = folder.start_step(self.resume_step)
        kept = _why_kept(arguments)
        if kept is not None:
            is_resumed = step > 0 or self.resume_step is not None
            if is_resumed and not (kept == _IN_SEQUENCE and self.num_fed):
                raise UserError(
                    f"resume at step {step}: the DataLoader over {type(served).__name__} has "
                    f"{kept}, which cannot be replaced, so the place cannot be set. Start anew, or "
                    "resume with data=upstream."
                )
            if world()[0] == 0:
                print(
                    f"predecode: a DataLoader over the replaced data set keeps {kept}", flush=True
                )
            return
        sampler = self._sampler(served, arguments)
        line = self._go_to(sampler, served, folder, step)
        total = planned_steps(self.script_words, self.config)
        check_run(served.run_scope, sampler, total and total - step, where=self.source)
        text = line.text(rank=sampler.rank, world_size=sampler.world_size)
        if sampler.rank == 0:
            print(text, flush=True)
            if folder.path is not None:
                folder.path.mkdir(parents=True, exist_ok=True)
                with (folder.path / FEED_FILE).open("a") as file:
                    file.write(text + "\n")
        self.num_fed += 1
        if self.canary_every and sampler.rank == 0 and not self.canaries:
            command_words = str(self.canary_root), self.canary_python
            self.canaries[id(sampler)] = FeedCanary.start(
                served, self.source, command_words, self.canary_every, step
            )
        arguments.update(sampler=sampler, shuffle=None)

    def _sampler(self, served: Any, arguments: Mapping[str, Any]) -> EpochSampler:
        """The sampler at the beginning of epoch 0."""
        replaced: Any = arguments.get("sampler")
        generator = arguments.get("generator")
        # A DistributedSampler knows which processes share data; torch.distributed knows all.
        shares = hasattr(replaced, "num_replicas")
        rank, world_size = (replaced.rank, replaced.num_replicas) if shares else world()
        own_order = served.sampling_order
        if own_order is not None and self.shuffle is not None:
            raise UserError(
                f"shuffle={self.shuffle}: the data set has the order {own_order.name!r} of its own "
                "(weights). Leave shuffle= out."
            )
        if self.seed is not None:
            seed = self.seed
        else:
            seed = _DEFAULT_SEED if generator is None else generator.initial_seed()
        return EpochSampler(
            len(arguments["dataset"]),
            rank=rank,
            world_size=world_size,
            seed=seed,
            batch_size=arguments.get("batch_size", 1) or 1,
            tail="drop" if arguments.get("drop_last") else "pad",
            shuffle=own_order or self.shuffle or "global",
            digest=served.digest,
        )

    def _go_to(self, sampler: EpochSampler, served: Any, folder: RunFolder, step: int) -> FeedLine:
        """Sets the place after ``step`` steps; returns the line for it."""

        def line(step: int, epoch: int, consumed: int) -> FeedLine:
            return FeedLine(
                data=self.data, source=self.source, backend=self.backend,
                manifest=served.digest[:12], samples=sampler.num_samples,
                order=sampler.state_dict()["order"], seed=sampler.seed, tail=sampler.tail,
                batch=sampler.global_batch_size, step=step, epoch=epoch, consumed=consumed,
                run="" if served.run_scope is None else str(served.run_scope),
            )  # fmt: skip

        before = line(0, 0, 0)
        path = folder.path and folder.path / FEED_FILE
        earlier = last_before(path, step) if step and path else None
        if earlier is not None:
            before.check_same(earlier, where=str(path))
            before = earlier
        place = before.place(step)
        sampler.go_to(*place)
        return line(step, *place)

    def _watch_config(self, module: ModuleType) -> None:
        """Remembers what the trainer's ``cli()`` returns."""
        cli: Callable[..., Any] | None = getattr(module, "cli", None)
        if cli is None:
            return

        @functools.wraps(cli)
        def remembered(*args: Any, **kwargs: Any) -> Any:
            self.config = cli(*args, **kwargs)
            return self.config

        module.cli = remembered  # type: ignore[attr-defined]


def _nothing() -> None:
    """What is done when all before it is."""


def find_served(dataset: object) -> Any:
    """Returns the supplied data set that ``dataset`` is or wraps, the outermost; None if none."""
    layer, seen = [dataset], set[int]()
    for _ in range(_DEPTH):
        for value in layer:
            if is_served(value):
                return value
        seen |= set(map(id, layer))
        layer = [inner for value in layer for inner in _inside(value) if id(inner) not in seen]
    return None


def _inside(value: object) -> list[object]:
    """What a wrapper may hold its data set in: an attribute, or a collection in one."""
    if isinstance(value, dict):
        return list(value.values())[:_MOST_MEMBERS]
    if isinstance(value, list | tuple):
        return list(value[:_MOST_MEMBERS])
    is_wrapper = hasattr(value, "__getitem__") or hasattr(value, "__iter__")
    return list(vars(value).values()) if is_wrapper and hasattr(value, "__dict__") else []


def _why_kept(arguments: Mapping[str, Any]) -> str | None:
    """What stands in the way of our sampler; None where the trainer asked for a plain shuffle."""
    data: Any = sys.modules["torch.utils.data"]
    sampler = arguments.get("sampler")
    if arguments.get("batch_sampler") is not None:
        return "its own batch_sampler"
    if isinstance(arguments["dataset"], data.IterableDataset):
        return "an iterable data set around it"
    if os.environ.get("PREDECODE_ORDER") == "stream":
        return "the order of PREDECODE_ORDER=stream, which no sampler sets"
    if sampler is None:
        return None if arguments.get("shuffle") else _IN_SEQUENCE
    if type(sampler) is data.DistributedSampler:
        return None if sampler.shuffle else _IN_SEQUENCE
    if type(sampler) is data.SequentialSampler:
        return _IN_SEQUENCE
    if type(sampler) is data.RandomSampler and not sampler.replacement:
        return None if sampler.num_samples == len(arguments["dataset"]) else "its own RandomSampler"
    return f"its own {type(sampler).__name__}"
