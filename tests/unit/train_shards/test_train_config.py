"""Words of the command line become checked settings, or a refusal that says what to write."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from train_shards.errors import UserError
from train_shards.train_config import TrainConfig, config_text, load_config

ROOT = Path(__file__).parents[3]


def test_shards_and_a_name_are_enough() -> None:
    config = load_config(["shards=out", "exp_name=first"])
    assert config.dataset == "train_shards.dataset.ShardDataset"
    assert config.dataset_options == {"out": "out"}
    assert config.folder == Path("checkpoints/first")
    assert (config.batch_size, config.num_train_steps, config.resume) == (32, 30000, False)


def test_several_outputs_are_a_list(tmp_path: Path) -> None:
    config = load_config(["shards=a b/x,s3://bucket/it's", "exp_name=first"])
    assert config.outputs == ["a b/x", "s3://bucket/it's"]
    assert config.dataset_options == {"out": config.outputs}
    assert load_config(["shards=[a,b]", "exp_name=first"]).outputs == ["a", "b"]
    assert load_config(["shards=a", "exp_name=first"]).outputs == ["a"]
    (tmp_path / "with,comma").mkdir()
    quoted = f"shards='{tmp_path}/with,comma'"
    assert load_config([quoted, "exp_name=x"]).outputs == [f"{tmp_path}/with,comma"]


def test_on_line_data_come_from_a_root_by_a_backend() -> None:
    words = ["data=online", "root=b1k", "backend=torchcodec", "exp_name=x", "norm_stats=s.json"]
    config = load_config(words)
    assert config.dataset == "predecode.online.OnlineDataset"
    assert config.dataset_options == {"root": "b1k", "backend": "torchcodec"}
    assert config.shards is None


def test_every_field_can_be_given() -> None:
    config = load_config(
        ["shards=out", "exp_name=x", "tasks=[0,turning_on_radio]", "episodes=[1,2]", "seed=7",
         "learning_rate=1e-4", "device=cpu", "+dataset_options.on_error=skip", "log_samples=true"]
    )  # fmt: skip
    assert config.tasks == [0, "turning_on_radio"]
    assert config.episodes == [1, 2]
    assert (config.seed, config.learning_rate, config.device) == (7, 1e-4, "cpu")
    assert config.dataset_options == {"out": "out", "on_error": "skip"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "exp_name: no default; expected exp_name=VALUE"),
        (["exp_name=x"], "shards: no default"),
        (["exp_name=x", "data=online"], "root: no default"),
        (["exp_name=x", "data=online", "root=r"], "norm_stats: data=online has no tables"),
        (["exp_name=x", "shards=o", "bacth_size=3"], "Could not override 'bacth_size'"),
        (["exp_name=x", "shards=o", "+more=3"], "unknown field `more`"),
        (
            ["exp_name=x", "shards=o", "batch_size=many"],
            r"Expected `int`, got `str` - at `\$.batch",
        ),
        (["exp_name=x", "shards=o", "num_train_steps=0"], r">= 1 - at `\$.num_train_steps`"),
        (["exp_name=../x", "shards=o"], r"at `\$.exp_name`"),
        (["exp_name=x", "shards=o", "data=tape"], "Available options in 'data': online shards"),
        (["exp_name=x", "shards=o", "resume=true", "overwrite=true"], "at most one of them"),
        (["exp_name"], "--help lists every field"),
        (
            ["exp_name=x", "shards=a,b", "canary_every=3", "canary_root=r"],
            "one output in shards=, got",
        ),
    ],
)
def test_a_refusal_says_what_is_wrong(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config(words)


def test_every_field_has_its_place_in_the_manual() -> None:
    manual = (ROOT / "docs/train.md").read_text()
    fields = TrainConfig.__struct_fields__
    assert len(fields) > 20
    assert [name for name in fields if f"`{name}" not in manual] == []


def test_the_help_is_the_packaged_files() -> None:
    text = config_text()
    assert "--- config.yaml" in text
    assert "--- data/online.yaml" in text
    parsed = OmegaConf.create(text.split("--- ")[1].split("\n", 1)[1])
    assert {str(key) for key in parsed} - {"defaults"} < set(TrainConfig.__struct_fields__)
