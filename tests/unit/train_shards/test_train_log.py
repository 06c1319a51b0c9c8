"""Samples that a resumed run trains on again stand once; curves only where they are wanted."""

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from train_shards.errors import UserError
from train_shards.train_log import Curves, SampleLog, cut_sample_logs
from train_shards.wandb_run import has_wandb_key


def steps_in(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_what_was_logged_after_a_checkpoint_is_cut_in_every_rank(tmp_path: Path) -> None:
    for rank in (0, 1):
        log = SampleLog(tmp_path, rank)
        for step in (1, 2, 3):
            log.write(step, [step * 10 + rank])
        log.close()
    with (tmp_path / "samples.rank1.jsonl").open("a") as file:
        file.write('{"step": 4, "samp')  # killed while writing
    cut_sample_logs(tmp_path, 2)
    assert [steps_in(tmp_path / f"samples.rank{rank}.jsonl") for rank in (0, 1)] == [[1, 2]] * 2
    log = SampleLog(tmp_path, 1)
    log.write(3, [7])
    log.close()
    last = (tmp_path / "samples.rank1.jsonl").read_text().splitlines()[-1]
    assert json.loads(last) == {"step": 3, "sample_index": [7]}


def test_curves_that_are_not_wanted_need_no_wandb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_wandb(monkeypatch)
    curves = Curves(tmp_path, {"exp_name": "x"}, is_enabled=False)
    curves.log(1, {"loss": 1.0})
    curves.close()
    assert list(tmp_path.iterdir()) == []


def test_curves_without_wandb_are_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_wandb(monkeypatch)
    with pytest.raises(UserError, match=r"predecode\[wandb\], or give wandb_enabled=false"):
        Curves(tmp_path, {"exp_name": "x"}, is_enabled=True)


def without_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def only_others(name: str, *rest: Any) -> Any:
        if name == "wandb":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", only_others)


@pytest.mark.parametrize(
    ("variables", "netrc", "has_key"),
    [
        ({}, None, False),
        ({"WANDB_API_KEY": "k"}, None, True),
        ({}, "machine api.wandb.ai login user password k\n", True),
        ({}, "machine elsewhere login user password k\n", False),
        ({"WANDB_BASE_URL": "https://own:8080"}, "machine own login user password k\n", True),
    ],
)
def test_a_key_is_found_in_the_environment_or_netrc(
    variables: dict[str, str],
    netrc: str | None,
    has_key: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": str(tmp_path), **variables}.items():
        monkeypatch.setenv(name, value)
    if netrc is not None:
        (tmp_path / ".netrc").write_text(netrc)
        (tmp_path / ".netrc").chmod(0o600)
    assert has_wandb_key() is has_key
