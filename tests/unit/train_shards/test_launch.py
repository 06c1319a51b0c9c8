"""The words before the training script."""

import os
from pathlib import Path

import pytest

from tests.support.stored import tiny_output
from train_shards.launch import LaunchWords, main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an output and a script; the environment is put back afterwards."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATA", "SHARDS", "ROOT", "BACKEND"):
        monkeypatch.setenv(f"PREDECODE_{name}", "of an earlier run")
    tiny_output(tmp_path / "shards")
    (tmp_path / "train.py").write_text("raise SystemExit('the script ran')")
    return tmp_path


def variables() -> dict[str, str]:
    names = [f"PREDECODE_{name}" for name in ("DATA", "SHARDS", "ROOT", "BACKEND")]
    return {name: os.environ[name] for name in names if name in os.environ}


def test_the_script_keeps_every_word_after_it(here: Path) -> None:
    words = "data=shards shards=shards seed=7 shuffle=block resume_step=12 run_dir=run"
    parsed = LaunchWords.parse([*words.split(), "train.py", "--resume", "data=online"])
    assert (parsed.script, parsed.script_words) == ("train.py", ("--resume", "data=online"))
    feeding = parsed.feeding()
    assert (feeding.seed, feeding.shuffle, feeding.resume_step) == (7, "block", 12)
    assert (feeding.run_dir, feeding.source) == ("run", str(here / "shards"))
    assert variables() == {"PREDECODE_DATA": "shards", "PREDECODE_SHARDS": str(here / "shards")}


@pytest.mark.parametrize(
    ("words", "backend"), [([], "pyav"), (["backend=torchcodec"], "torchcodec")]
)
def test_on_line_decoding_is_told_by_the_environment(
    here: Path, words: list[str], backend: str
) -> None:
    feeding = LaunchWords.parse(["data=online", "root=.", *words, "train.py"]).feeding()
    assert (feeding.data, feeding.source, feeding.backend) == ("online", str(here), backend)
    assert variables() == {
        "PREDECODE_DATA": "online", "PREDECODE_ROOT": str(here), "PREDECODE_BACKEND": backend,
    }  # fmt: skip


def test_a_url_or_a_root_of_the_trainers_is_left_to_who_opens_it(here: Path) -> None:
    del here
    words = ["data=shards", "shards=s3://bucket/shards", "train.py"]
    assert LaunchWords.parse(words).feeding().source == "s3://bucket/shards"
    assert variables()["PREDECODE_SHARDS"] == "s3://bucket/shards"
    assert LaunchWords.parse(["data=shards", "train.py"]).feeding().source == ""
    assert variables() == {"PREDECODE_DATA": "shards"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "no data=: expected one of shards, online, upstream"),
        ("shards=shards train.py", "no data=:"),
        ("data=shard train.py", "data=shard: expected one of shards, online, upstream"),
        ("data=shards shard=x train.py", "shard=: no such word; the nearest is shards="),
        ("data=shards seeds=1 train.py", "seeds=: no such word; the nearest is seed="),
        ("data=online train.py", "root=: no such folder"),
        ("data=shards shards=shards", "no training script"),
        ("data=shards shards=shards trian.py", "trian.py: no such training script"),
        ("data=shards shards=elsewhere train.py", "{here}/elsewhere: no .predecode/manifest.json"),
        ("data=shards shards=a,b train.py", "shards=a,b: a training script is fed from one output"),
        ("data=shards shards=a shards=b train.py", "shards=: given twice, 'a' and 'b'"),
        ("data=shards shards=shards backend=pyav train.py", "backend=: not with data=shards"),
        ("data=shards shards=shards seed=-1 train.py", "seed=-1: expected a number"),
        ("data=shards shards=shards resume_step=x train.py", "resume_step=x: expected a number"),
        ("data=shards shards=shards shuffle=yes train.py", "shuffle=yes: expected one of global"),
        (
            "data=shards root=. train.py",
            "root=: not with data=shards; expected canary_e",
        ),
        ("data=online root=elsewhere train.py", "root=elsewhere: no such folder"),
        ("data=online root=. backend=opencv train.py", "backend=opencv: expected one of pyav"),
        ("data=upstream resume_step=3 train.py", "resume_step=: not with data=upstream"),
        (
            "data=upstream shards=x train.py",
            "shards=: not with data=upstream; expected no other word",
        ),
    ],
)
def test_what_cannot_be_carried_out_is_refused_before_the_script_runs(
    here: Path, words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    assert f"error: {message.format(here=here)}" in capsys.readouterr().err


def test_help_names_every_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    for word in ("data", "shards", "root", "backend", "seed", "shuffle", "resume_step", "run_dir"):
        assert f"{word}=" in said
