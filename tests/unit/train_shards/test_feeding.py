"""Our sampler in torch's DataLoader: passes, epochs, places, and what is left alone."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch.utils.data
from torch.utils.data import DistributedSampler, RandomSampler, SequentialSampler, Subset

from train_shards.errors import DataError, UserError
from train_shards.feeding import BroughtAhead, EpochSampler, Feeding, find_served
from train_shards.order import GlobalOrder
from train_shards.run_scope import RunScope
from train_shards.weighted_order import WeightedOrder, cumulative_weights

NUM_SAMPLES = 22


class Served(torch.utils.data.Dataset[int]):
    """Stands for a class that the import hook supplies."""

    digest = "0123456789abcdef"
    run_scope = None

    def __init__(self, sampling_order: Any = None) -> None:
        self.sampling_order = sampling_order

    def __len__(self) -> int:
        return NUM_SAMPLES

    def __getitem__(self, position: int) -> int:
        return position


class Wrapper(torch.utils.data.Dataset[Any]):
    """As the trainer wraps its data set."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __len__(self) -> int:
        return len(self._inner)

    def __getitem__(self, position: int) -> Any:
        return self._inner[position]


@pytest.fixture(autouse=True)
def _served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREDECODE_ORDER", raising=False)
    monkeypatch.setattr("train_shards.feeding.is_served", lambda v: isinstance(v, Served))


def loader_class(feeding: Feeding) -> Any:
    """A DataLoader of its own that is fed; torch's stays as it is."""

    class Loader(torch.utils.data.DataLoader[Any]):
        pass

    feeding.patch(SimpleNamespace(DataLoader=Loader))  # type: ignore[arg-type]
    return Loader


def fed(dataset: Any = None, feeding: Feeding | None = None, **arguments: Any) -> Any:
    wanted: dict[str, Any] = {"batch_size": 4, "shuffle": True, "drop_last": True} | arguments
    feeding = feeding or Feeding(data="shards", source="/shards", seed=5)
    return loader_class(feeding)(dataset or Wrapper(Served()), collate_fn=list, **wanted)


def epoch(number: int, stop: int = 20, seed: int = 5) -> list[int]:
    return [GlobalOrder(NUM_SAMPLES).keyed(seed, number).sample(p) for p in range(stop)]


def read(loader: Any) -> list[int]:
    return [sample for batch in loader for sample in batch]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_each_finished_pass_is_followed_by_the_next_epoch(num_workers: int) -> None:
    method: dict[str, Any] = (
        {"multiprocessing_context": "fork", "persistent_workers": True} if num_workers else {}
    )
    loader = fed(num_workers=num_workers, **method)
    assert [read(loader) for _ in range(3)] == [epoch(0), epoch(1), epoch(2)]
    assert len(loader) == 5


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_pass_that_is_broken_off_is_begun_again(num_workers: int) -> None:
    # Four of five batches: with two workers the sampler was then at its end long ago.
    method: dict[str, Any] = {"multiprocessing_context": "fork"} if num_workers else {}
    loader = fed(num_workers=num_workers, **method)
    batches = iter(loader)
    assert [next(batches) for _ in range(4)] == [epoch(0)[i : i + 4] for i in range(0, 16, 4)]
    del batches
    assert read(loader) == epoch(0)
    assert read(loader) == epoch(1)


def test_a_pass_begins_anew_while_an_old_one_is_still_held() -> None:
    # Workers that persist are those of the old pass, whose next batch may just be fetched.
    loader = fed(num_workers=2, multiprocessing_context="fork", persistent_workers=True)
    passes = []
    for _ in range(3):
        passes.append(iter(loader))
        assert [next(passes[-1]) for _ in range(2)] == [epoch(0)[:4], epoch(0)[4:8]]
    assert read(loader) == epoch(0)
    assert read(loader) == epoch(1)


def test_with_workers_the_next_batch_is_brought_while_this_one_is_used() -> None:
    asked: list[int] = []
    came = [threading.Event() for _ in range(4)]

    def batches() -> Iterator[int]:
        for number, event in enumerate(came):
            asked.append(number)
            event.set()
            yield number

    with ThreadPoolExecutor(1) as pool:
        ahead = BroughtAhead(batches(), pool)
        assert next(ahead) == 0
        assert came[1].wait(timeout=60)  # nobody has asked for it yet
        assert asked == [0, 1]  # and one is enough
        assert list(ahead) == [1, 2, 3]
        assert next(ahead, None) is None


def test_without_workers_nothing_is_brought_before_it_is_asked_for() -> None:
    asked: list[int] = []

    class Noting(Served):
        def __getitem__(self, position: int) -> int:
            asked.append(position)
            return position

    batches = iter(fed(Wrapper(Noting())))
    assert next(batches) == asked == epoch(0)[:4]


def test_what_comes_after_an_error_still_comes() -> None:
    def numbers() -> Iterator[int]:
        yield from (4, 0, 2)

    with ThreadPoolExecutor(1) as pool:
        ahead = BroughtAhead(map(lambda number: 8 // number, numbers()), pool)  # noqa: C417
        assert next(ahead) == 2
        with pytest.raises(ZeroDivisionError):
            next(ahead)
        assert list(ahead) == [4]


def test_a_workers_error_comes_where_its_batch_is_asked_for() -> None:
    class Damaged(Served):
        def __getitem__(self, position: int) -> int:
            if position == epoch(0)[9]:
                raise DataError(f"sample {position}")
            return position

    loader = fed(Wrapper(Damaged()), num_workers=1, multiprocessing_context="fork")
    batches = iter(loader)
    assert [next(batches), next(batches)] == [epoch(0)[:4], epoch(0)[4:8]]
    with pytest.raises(DataError, match=f"sample {epoch(0)[9]}"):
        next(batches)


def test_what_an_old_pass_says_late_does_no_harm() -> None:
    loader = fed()
    old = iter(loader)
    assert [sample for batch in old for sample in batch] == epoch(0)
    assert next(old, None) is None
    assert read(loader) == epoch(1)
    assert next(old, None) is None
    assert read(loader) == epoch(2)


def test_the_trainers_set_epoch_changes_nothing() -> None:
    loader = fed(feeding=Feeding(data="shards", source="/shards", seed=5, resume_step=12))
    assert len(loader) == 5
    loader.sampler.set_epoch(0)
    # 12 steps of 5 an epoch: two epochs, and 2 steps of the third.
    assert read(loader) == epoch(2)[8:]
    loader.sampler.set_epoch(0)
    assert read(loader) == epoch(3)


def test_a_step_at_the_end_of_an_epoch_begins_the_next() -> None:
    loader = fed(feeding=Feeding(data="shards", source="/shards", seed=5, resume_step=10))
    assert read(loader) == epoch(2)


def test_without_drop_last_the_epoch_is_filled_up() -> None:
    loader = fed(drop_last=False)
    assert read(loader) == [*epoch(0, 22), *epoch(0, 2)]
    assert len(loader) == 6


def test_everything_but_the_sampler_is_kept() -> None:
    generator = torch.Generator().manual_seed(77)
    feeding = Feeding(data="shards", source="/shards")
    initialise = print
    loader = fed(
        feeding=feeding, generator=generator, worker_init_fn=initialise, num_workers=1, timeout=9
    )
    assert (loader.batch_size, loader.drop_last, loader.collate_fn) == (4, True, list)
    assert (loader.generator, loader.worker_init_fn) == (generator, initialise)
    assert (loader.num_workers, loader.timeout) == (1, 9)
    assert loader.sampler.seed == 77


def test_the_trainers_own_split_counts() -> None:
    dataset = Wrapper(Served())
    for rank in range(2):
        sampler: Any = DistributedSampler(dataset, 2, rank, shuffle=True, drop_last=True)
        loader = fed(dataset, shuffle=False, sampler=sampler)
        assert read(loader) == epoch(0, 16)[rank::2]


def test_the_data_sets_own_order_is_followed(capsys: pytest.CaptureFixture[str]) -> None:
    order = WeightedOrder(cumulative_weights(np.eye(22)[7]))
    loader = fed(Wrapper(Served(order)))
    assert set(read(loader)) == {7}
    assert f"order={order.name.split()[0]}" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"shuffle=block: the data set has the order .* of its own"):
        fed(Served(order), Feeding(data="shards", source="/", shuffle="block"))


def test_the_word_for_the_order_is_followed() -> None:
    loader = fed(feeding=Feeding(data="shards", source="/", shuffle="none"))
    assert read(loader) == list(range(20))


def test_the_line_is_kept_in_the_runs_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words: dict[str, Any] = {
        "data": "shards",
        "source": "/shards",
        "seed": 5,
        "run_dir": str(tmp_path / "run"),
    }
    fed(feeding=Feeding(**words))
    # Trained for 7 steps with 4 samples; from there with 8: 2 steps into epoch 1.
    loader = fed(feeding=Feeding(**words, resume_step=7), batch_size=8)
    assert read(loader) == epoch(1)[8:16]
    path = tmp_path / "run/predecode_feed.txt"
    assert path.read_text() == capsys.readouterr().out
    assert "epoch=1 consumed=8 step=7 batch=8" in path.read_text().splitlines()[1]
    with pytest.raises(UserError, match=r"predecode_feed\.txt: seed 5 at step 7, this run has 6"):
        fed(feeding=Feeding(**{**words, "seed": 6}, resume_step=9))


def test_other_data_sets_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    feeding = Feeding(data="shards", source="/shards", resume_step=5)
    loader = fed(list(range(8)), feeding)
    assert isinstance(loader.sampler, RandomSampler)
    assert sorted(read(loader)) == list(range(8))
    assert feeding.num_loaders == 0
    assert capsys.readouterr().out == ""


class Own(RandomSampler):
    pass


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ({"shuffle": False}, "its reading in sequence"),
        ({"shuffle": False, "sampler": SequentialSampler(range(22))}, "its reading in sequence"),
        ({"shuffle": False, "sampler": Own(range(22))}, "its own Own"),
        ({"shuffle": False, "sampler": RandomSampler(range(22), num_samples=9)}, "its own RandomS"),
        (
            {
                "shuffle": False,
                "sampler": DistributedSampler(Wrapper(Served()), 2, 0, shuffle=False),
            },
            "its reading in sequence",
        ),
    ],
)
def test_a_sampler_that_is_no_plain_shuffle_is_kept(
    capsys: pytest.CaptureFixture[str], arguments: dict[str, Any], kept: str
) -> None:
    loader = fed(**arguments)
    assert not isinstance(loader.sampler, EpochSampler)
    said = capsys.readouterr().out
    assert f"predecode: a DataLoader over the replaced data set keeps {kept}" in said
    for step in (0, 5):  # a place was asked for, be it the first
        with pytest.raises(
            UserError, match=f"resume at step {step}: the DataLoader over Served has {kept}"
        ):
            fed(feeding=Feeding(data="shards", source="/", resume_step=step), **arguments)


def test_a_data_set_that_heeds_no_sampler_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREDECODE_ORDER", "stream")
    assert isinstance(fed().sampler, RandomSampler)
    assert "keeps the order of PREDECODE_ORDER=stream" in capsys.readouterr().out
    with pytest.raises(UserError, match="has the order of PREDECODE_ORDER=stream"):
        fed(feeding=Feeding(data="shards", source="/", resume_step=5))


def test_a_loader_in_sequence_beside_the_fed_one_may_stay_on_resume() -> None:
    feeding = Feeding(data="shards", source="/", resume_step=5)
    loader = loader_class(feeding)
    arguments: dict[str, Any] = {"batch_size": 4, "collate_fn": list}
    loader(Served(), shuffle=True, drop_last=True, **arguments)
    assert read(loader(Served(), **arguments)) == list(range(22))
    with pytest.raises(UserError, match="its own batch_sampler"):
        loader(Served(), batch_sampler=[[0]], collate_fn=list)


def test_a_loader_made_anew_from_a_fed_one_keeps_its_sampler() -> None:
    feeding = Feeding(data="shards", source="/", seed=5)
    first = fed(feeding=feeding)
    again = fed(feeding=feeding, shuffle=None, sampler=first.sampler)
    assert again.sampler is first.sampler
    assert (feeding.num_loaders, feeding.num_fed) == (1, 1)
    assert read(again) == epoch(0)
    assert read(first) == epoch(1)


def test_the_data_set_is_found_in_wrappers() -> None:
    served = Served()
    subset: Any = Subset(served, [3, 4])
    for wrapped in (served, Wrapper(Wrapper(served)), Wrapper([1, {"a": served}]), subset):
        assert find_served(wrapped) is served
    loop = Wrapper(None)
    loop._inner = loop
    assert find_served(loop) is None
    assert find_served(Wrapper([1, 2])) is None
    assert sorted(read(fed(subset, batch_size=2))) == [3, 4]


def test_the_trainers_own_configuration_is_remembered(tmp_path: Path) -> None:
    feeding = Feeding(data="shards", source="/", seed=5)
    config = SimpleNamespace(checkpoint_dir=tmp_path, resume=True)
    module: Any = SimpleNamespace(cli=lambda: config)
    feeding._watch_config(module)
    (tmp_path / "12").mkdir()
    assert module.cli() is config
    assert read(fed(feeding=feeding)) == epoch(2)[8:]


class OneRun(Served):
    """An output of one run's samples: 2 steps of 4 of seed 5."""

    run_scope: Any = RunScope(
        steps=2, global_batch=4, seed=5, num_samples=NUM_SAMPLES, universe="", num_stored=8
    )


@pytest.mark.parametrize(
    ("arguments", "options", "both"),
    [
        ({}, {"seed": 6}, "seed 5, this run has 6"),
        ({}, {"seed": 5, "shuffle": "block"}, "order 'global', this run has 'block"),
        ({}, {"seed": 5, "script_words": ("--steps=3",)}, "takes 12: 3 steps of 4 from 0"),
        ({"batch_size": 9}, {"seed": 5}, "first 8 of epoch 0. This run takes 9: a step of 9"),
    ],
)
def test_a_loader_beyond_the_run_that_is_stored_is_refused(
    arguments: dict[str, Any], options: dict[str, Any], both: str
) -> None:
    feeding = Feeding(data="shards", source="/shards", **options)
    with pytest.raises(UserError, match=f"/shards: .*steps=2 global-batch=4 seed=5.*{both}"):
        fed(Wrapper(OneRun()), feeding, **arguments)


def test_the_line_names_the_run_that_is_stored(capsys: pytest.CaptureFixture[str]) -> None:
    feeding = Feeding(data="shards", source="/shards", seed=5)
    feeding.config = SimpleNamespace(num_train_steps=2)
    fed(Wrapper(OneRun()), feeding)
    assert "tail=drop run='steps=2 global-batch=4 seed=5'" in capsys.readouterr().out
