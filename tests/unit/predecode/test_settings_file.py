"""A settings file says what the options say, and nothing else."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from predecode.api.run_options import PlanOptions, RunOptions
from predecode.api.settings_file import read_settings, write_settings
from predecode.errors import UserError

WRITTEN = """\
# Options of a run: predecode run --config FILE. Options on the command line win.
src = "b1k"
root = "data/b1k"
modalities = "rgb"
stride = 2
annotated-only = true
for-run = ["steps=5", "global-batch=8", "seed=1"]
size = "64"
codec = "jpeg"
shard-size = 8192
layout = "mixed"
val-episodes = "5%"
embed-lowdim = false
task-info = false
seed = 0
max-failures = 0
wandb = false
hang-limit-s = 0.5
memory-limit-mb = 4096
node-wait-s = 60
"""


def test_a_plan_is_written_as_words_of_run(tmp_path: Path) -> None:
    options = PlanOptions(
        src="b1k", root=Path("data/b1k"), size="64", stride=2, annotated_only=True,
        for_run=("steps=5", "global-batch=8", "seed=1"), val_episodes="5%", hang_limit_s=0.5,
        overwrite=True, budget="2TB", frames=7, cores=3, save="run.toml",
    )  # fmt: skip
    path = tmp_path / "run.toml"
    write_settings(path, options)
    assert path.read_text() == WRITTEN
    assert [one.name for one in tmp_path.iterdir()] == ["run.toml"]


texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    src=texts, root=st.none() | texts, quality=st.none() | st.integers(), stride=st.integers(),
    hang_limit_s=st.floats(min_value=1), wandb=st.booleans(),
    for_run=st.none() | st.tuples(texts, texts, texts),
)  # fmt: skip
@example(
    src='\x7f"\\\n\0☃', root=None, quality=None, stride=1, hang_limit_s=float("inf"), wandb=True,
    for_run=("'", "#", "[]"),
)  # fmt: skip
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, **words: Any) -> None:
    options = RunOptions(out="shards", **words)
    path = tmp_path_factory.mktemp("settings") / "run.toml"
    # 64-bit integers are what TOML promises; Python's reader takes any.
    write_settings(path, options)
    read = read_settings(path)
    assert read == {
        name: value
        for name, value in dataclasses.asdict(options).items()
        if value is not None and name != "overwrite"
    }
    assert RunOptions(**read) == options
    assert len(tomllib.loads(path.read_text())) == len(read) > 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('codek = "png"', "'codek' is no option of 'predecode run'. Did you mean 'codec'?"),
        ("shard_size = 512", "'shard_size' is no option .* mean 'shard-size'?"),
        ("budget = '2TB'", "'budget' is no option of 'predecode run'"),
        ("overwrite = false", "overwrite is said on the command line alone"),
        ("stride = 2.5", r"stride 2\.5: expected int, got float\."),
        ("stride = true", "stride True: expected int, got bool"),
        ("wandb = 1", "wandb 1: expected bool, got int"),
        ("root = 3", "root 3: expected str"),
        ("seed = [1]", r"seed \[1\]: expected int, got array"),
        ('for-run = ["steps=5", "seed=1"]', "for-run .*: expected array of length 3"),
        ("num-cpus = 0", "num-cpus 0: expected 1 or more"),
        ("hang-limit-s = nan", "hang-limit-s nan: expected 1 or more"),
        ("[run]\nstride = 2", "'run' is no option"),
        ("stride = 1\nstride = 2", "Cannot overwrite a value"),
        ("\udcff", "can't decode byte"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=said) as refused:
        read_settings(path)
    assert str(refused.value).startswith(f"--config {path}: ")
    assert "\n" not in str(refused.value)


def test_a_word_that_is_no_text_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--save .*: an option is no text"):
        write_settings(tmp_path / "run.toml", RunOptions(src="b1k", out="\udcff"))
    assert list(tmp_path.iterdir()) == []
