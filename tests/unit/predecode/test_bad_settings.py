"""Words that no command can follow: one line says where, what and what to do; nothing is done.

Each row is a whole command line in a folder that holds ``b1k/`` (metadata of three episodes),
``videos/`` (a file that is no video), ``out/`` (the golden output of 1.1, whose source is gone),
``broken/`` (the same, with episode 490010 quarantined), ``strange/``, ``empty/`` and the file
``file``.
"""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer

from predecode import cli
from tests.unit.predecode.test_b1k_source import EPISODES, INFO, TASKS, lines

GOLDEN = Path(__file__).parents[2] / "golden/v1.1"
RUN = "run --src b1k --root b1k --out new"
VIDEOS = "run --src videos --root videos --out new"
NO_OUTPUT = r"no \.predecode/manifest\.json: not an output of predecode, or its run has not finish"

ROWS: dict[str, str] = {
    # --- run: where from and where to ---
    "run --out new": r"predecode run: Missing option '--src'\. See 'predecode run --help'\.$",
    "run --src b1k": r"predecode run: Missing option '--out' / '-o'\. See 'predecode run --help'",
    "run --src b2k --out new": r"--src b2k: expected one of b1k, lerobot, videos",
    "run --src videos --out new": r"--src videos: needs --root, the folder of the data",
    "run --src b1k --out new": r"--src b1k: no data found\. Looked at --root \(not given\), ",
    "run --src b1k --root gone --out new": r"--root gone: no such folder\. Name the folder that",
    "run --src b1k --root file --out new": r"--root file: no such folder\. Name the folder that",
    "run --src b1k --root empty --out new": r"empty/meta/info\.json: not found\. --root must be",
    "run --src videos --root empty --out new": r"empty: no video found; expected files ending in",
    "run --src b1k --root b1k --out file": r"--out file: file is a file, expected a folder\. Name",
    "run --src b1k --root b1k --out file/new": r"--out file/new: file is a file, expected a folder",
    "run --src b1k --root b1k --out strange": (
        r"--out .*/strange: not empty and not an output of predecode \(x\)\. Choose an empty or"
    ),
    "run --src b1k --root b1k --out out": (
        r"--out .*/out: made with other settings: .*--stride: the output has 30, asked for 1; .*"
        r"\. Use the same settings, another --out, or --overwrite to start anew\.$"
    ),
    f"{RUN} --config gone.toml": r"--config gone\.toml: No such file or directory\. Expected a",
    f"{RUN} --config empty": r"--config empty: Is a directory\. Expected a TOML file, as plan",
    f"{RUN} --config toml/cut.toml": r"toml/cut\.toml: Invalid value \(at end of document\)\.",
    f"{RUN} --config toml/key.toml": (
        r"--config toml/key\.toml: 'strid' is no option of 'predecode run'\. .* 'stride'\?$"
    ),
    f"{RUN} --config toml/type.toml": (
        r"--config toml/type\.toml: stride '2': expected int, got str\.$"
    ),
    f"{RUN} --config toml/least.toml": (
        r"--config toml/least\.toml: num-cpus 0: expected 1 or more\.$"
    ),
    f"{RUN} --config toml/overwrite.toml": r"overwrite is said on the command line alone\.$",
    f"{RUN} --config toml/value.toml": r"--tasks 7: no episode has task 7; this",
    # --- plan: the same words, and its own ---
    "plan --out new": r"predecode plan: Missing option '--src'\. See 'predecode plan --help'\.$",
    "plan --src b1k --root b1k --out file": r"--out file: file is a file, expected a folder\. Name",
    "plan --src b1k --root b1k --tasks 7": r"--tasks 7: no episode has task 7; this",
    "plan --src b1k --root b1k --budget 2T": r"--budget 2T: expected bytes with a unit",
    "plan --src b1k --root b1k --budget 0GB": r"--budget 0GB: expected bytes with a unit, such as",
    "plan --src b1k --root b1k --frames 0": r"predecode plan: Invalid value for '--frames'",
    "plan --src b1k --root b1k --cores 0": r"predecode plan: Invalid value for '--cores'",
    "plan --src b1k --root b1k --save empty": r"--save empty: a folder, expected a file\. Name one",
    "plan --src b1k --root b1k --save file/x": r"--save file: file is a file, expected a folder\.",
    # --- run: a wrong value of each option ---
    f"{RUN} --tasks 7": r"--tasks 7: no episode has task 7; this source has 0, 49\.$",
    f"{RUN} --tasks make_piza": r"--tasks make_piza: no such task\. Did you mean 'make_pizza'\?$",
    f"{RUN} --tasks 49-0": r"--tasks 49-0: the range runs backwards; expected 0-49\.$",
    f"{RUN} --episodes 7": r"--episodes 7: position 7, expected 0 to 1 \(positions count within",
    f"{RUN} --episodes x": r"--episodes x: expected positions \(0, 3-7\) or 8-digit ids",
    f"{RUN} --episodes 00000030": r"--episodes 00000030: no such episode among the selected tasks",
    f"{RUN} --cameras haed": r"--cameras haed: expected one of head, .*Did you mean 'head'\?$",
    f"{RUN} --modalities rbg": r"--modalities rbg: expected one of rgb, depth, .*mean 'rgb'\?$",
    f"{RUN} --modalities seg_instance_id": r"_instance_id: --src b1k at b1k has rgb",
    f"{RUN} --stride 0": r"--stride 0: expected 1 or more\.$",
    f"{RUN} --for-run steps=5 batch=8 seed=1": (
        r"--for-run steps=5 batch=8 seed=1: expected steps=50000 global-batch=64 seed=42\. "
        r"global-batch counts all ranks together: the batch of a GPU times their number\.$"
    ),
    f"{RUN} --for-run steps=5 seed=1": r"predecode: Option '--for-run' requires 3 arguments",
    f"{RUN} --for-run steps=0 global-batch=8 seed=1": (
        r"--for-run steps=0: expected a whole number from 1 on\.$"
    ),
    f"{RUN} --stride x": r"predecode run: Invalid value for '--stride': .* integer, got 'x'\. See",
    f"{RUN} --stride=x": r"predecode run: Invalid value for '--stride': .* integer, got 'x'\. See",
    f"{RUN} --size big": r"--size big: expected 'native', one number \(224\) or WxH \(320x240\)",
    f"{RUN} --size 9000": r"--size 9000: expected 1 to 8192 pixels each way",
    f"{RUN} --codec jpg": r"--codec jpg: expected one of jpeg, .*, raw\. Did you mean 'jpeg'",
    f"{RUN} --quality 0": r"--quality 0: expected 1 to 100\.$",
    f"{RUN} --shard-size 1": r"--shard-size 1: fewer samples than one piece \(256\)\. Use 256 or",
    f"{RUN} --layout mixd": r"--layout mixd: expected one of mixed, episode\. Did you mean 'mixed'",
    f"{RUN} --val-episodes half": r"--val-episodes half: expected positions \(0, 3-7\) or 8-digit",
    f"{RUN} --val-episodes 100%": r"--val-episodes 100%: a share must lie between 0 and 1",
    f"{RUN} --name MySet": r"--name 'MySet': expected 1 to 40 of a-z, 0-9, .*a letter or digit\.$",
    f"{RUN} --seed x": r"predecode run: Invalid value for '--seed': .* integer, got 'x'\. See",
    f"{RUN} --num-cpus 0": r"predecode run: .*'--num-cpus': .*greater than or equal to 1, got '0'",
    f"{RUN} --node-wait-s -1": r"predecode run: .*'--node-wait-s': .*equal to 0, got '-1'",
    f"{RUN} --max-failures -1": r"predecode run: .*'--max-failures': .*equal to 0, got '-1'",
    f"{RUN} --hang-limit-s nan": r"predecode run: .*'--hang-limit-s': .*equal to 1, got 'nan'",
    f"{RUN} --memory-limit-mb 1": r"predecode run: .*'--memory-limit-mb': .*to 256, got '1'",
    f"{RUN} --strid 2": r"predecode run: No such option: --strid .*--stride\)\. See 'predecode run",
    f"{RUN} more": r"predecode run: Got unexpected extra argument\(s\) \(more\)\. See",
    # --- run: options that contradict each other or the source ---
    f"{RUN} --tasks 0 --episodes 00490010": r"--episodes 00490010: no such episode among the sel",
    f"{RUN} --tasks 49 --episodes 1": r"--episodes 1: position 1, expected 0 to 0",
    f"{RUN} --codec png --quality 90": r"--quality 90: --codec png is lossless and takes none",
    f"{RUN} --annotated-only": (
        r"--annotated-only: 3 episodes have no labelled frame and are not selected: 00000010, "
        r"00000040, 00490010\. None is left: see 'predecode verify --source', select others, or"
    ),
    f"{VIDEOS} --annotated-only": r"--annotated-only: --src videos has no annotations; expected a",
    f"{VIDEOS} --embed-lowdim": r"--embed-lowdim: --src videos has no state and action .*Leave it",
    f"{VIDEOS} --modalities depth": r"--modalities depth: --src videos at videos has rgb",
    f"{VIDEOS} --cameras head": r"--cameras head: expected one of video\.$",
    f"{VIDEOS} --tasks radio": r"--tasks radio: no such task\.$",
    # --- retry ---
    "retry": r"predecode retry: Missing argument 'out'\. See 'predecode retry --help'\.$",
    f"{RUN} --staging file": r"--staging file: .*file is a file, expected a folder",
    f"{RUN} --staging staged": r"--staging staged: --out new is a folder\. Leave it out\.",
    "drop s3://bucket/shards --episodes 1": r"s3://bucket/shards: a drop works on a folder",
    "retry gone": rf"gone: {NO_OUTPUT}",
    "retry file": rf"file: {NO_OUTPUT}",
    "retry empty": rf"empty: {NO_OUTPUT}",
    "retry out": r"out: its source /source is not there; say where it is with --root",
    "retry out --root gone": r"out: its source gone is not there; say where it is with --root",
    "retry out --root b1k": r"/out: no episode is quarantined\. There is nothing to retry\.$",
    "retry broken --root b1k --episodes x": r"--episodes x: expected ids, such as 00490010",
    "retry broken --root b1k --episodes 10,490010": (
        r"/broken: --episodes 00000010: not quarantined\. Choose from 00490010\.$"
    ),
    "retry broken --root b1k --backend opencv": (
        r"--backend opencv: expected one of pyav, torchcodec\.$"
    ),
    "retry broken --num-cpus x": r"predecode retry: .*'--num-cpus': .* integer, got 'x'\. See",
    # --- verify ---
    "verify": r"verify: expected an output of 'predecode run', or --source and no output\.$",
    "verify out --source": r"verify: expected an output of 'predecode run', or --source and no",
    "verify gone": rf"gone: {NO_OUTPUT}",
    "verify file": rf"file: {NO_OUTPUT}",
    "verify file --fast": rf"file: {NO_OUTPUT}",
    "verify out": r"/out: its source /source is not there; say where it is with --root",
    "verify out --root gone": r"/out: its source gone is not there; say where it is with --root",
    "verify out --fast --all": r"verify --fast: decodes nothing\. Leave --all out\.$",
    "verify out --fast --sample 5": r"verify --fast: decodes nothing\. Leave --sample out\.$",
    "verify out --fast --backends pyav --min-psnr 3": (
        r"verify --fast: decodes nothing\. Leave --min-psnr, --backends out\.$"
    ),
    "verify out --all --sample 5": r"verify --all: looks at every sample\. Leave --sample out\.$",
    "verify --source --fast": r"verify: --fast and --source exclude each other\. Leave one out\.$",
    "verify --source --root b1k --all": r"verify --source: decodes nothing\. Leave --all out\.$",
    "verify --source --root gone": r"--root gone: no such folder\. Name the folder that holds",
    "verify --source --src b2k --root b1k": r"--src b2k: expected one of b1k, lerobot, videos",
    "verify out --backends opencv": r"decoder 'opencv': not known\. Use one of: pyav, torchcodec,",
    "verify out --backend-python x": r"--backend-python x: expected video_reader=<path of a pyt",
    "verify out --backend-python pyav=python3": r"backend_python 'pyav': only video_reader runs un",
    "verify out --sample -1": r"predecode verify: .*'--sample': .*or equal to 0, got '-1'\. See",
    "verify out --min-psnr x": r"predecode verify: .*'--min-psnr': .* number, got 'x'\. See",
    "verify out --min-psnr nan": r"--min-psnr nan: expected dB from 0 on",
    "verify out --min-psnr inf": r"--min-psnr inf: expected dB from 0 on",
    "verify out --min-psnr -3": r"--min-psnr -3\.0: expected dB from 0 on",
    "verify out --fast --report file": r"--report file: file is a file, expected a folder\. Name",
    # --- drop ---
    "drop out": r"drop: expected --episodes, or --rewrite for those dropped before\.$",
    "drop out --rewrite": r"out: nothing is dropped yet; say what with --episodes\.$",
    "drop out --episodes 7": r"--episodes 00000007: not in .*/out; .*, it has 1: 00490040\.$",
    "drop out --episodes x": r"--episodes x: expected ids, such as 00490010,00490020\.$",
    "drop out --episodes 490040": r"/out: no episode with samples would be left\. Delete the",
    "drop out --out broken --rewrite": r"--out broken: out is given already\. Leave one out\.$",
    "drop gone --episodes 7": r"gone: no \.predecode/manifest\.json: not an output of predecode",
    # --- inspect ---
    "inspect": r"predecode inspect: Missing argument 'out'\. See 'predecode inspect --help'\.$",
    "inspect gone": rf"gone: {NO_OUTPUT}",
    "inspect file": rf"file: {NO_OUTPUT}",
    "inspect out --key x": r"--key: key 'x': expected the form 'ep00010041_f000310'\.$",
    "inspect out --episode x": r"predecode inspect: .*'--episode': .* integer, got 'x'\. See",
    "inspect out --key x --episode 3": r"inspect: --key and --episode exclude each other\.",
    "inspect out --picture new.png": r"--picture new\.png: of which sample\? Name it with --key\.$",
    "inspect out --key x --picture file/new.png": r"--picture file: file is a file, expected a",
    "inspect out --html empty": r"--html empty: a folder, expected a file\. Name one in it\.$",
    # --- the whole command ---
    "--json": r"predecode --json: expected --version before it, or a command\.$",
    "--json run": r"predecode --json: expected --version before it, or a command\.$",
    # --- sample, and no command at all ---
    "sample --edition 2027": r"--edition 2027: expected one of 2025, 2026, rft\. Did you mean '202",
    "sample --edition rft --damaged": r"--damaged with --edition rft: expected 2025 or 2026\.$",
    "sample --out strange": r"strange: the folder is not empty \(1 entries, first 'x'\)\. Name",
    "sample --out file": r"--out file: file is a file, expected a folder\. Name another\.$",
    "sample --out file/x": r"--out file/x: file is a file, expected a folder\. Name another\.$",
    "runn": r"predecode: No such command 'runn'\. Did you mean 'run'\? See 'predecode --help'\.$",
}  # fmt: skip


FILES = {
    "cut": "stride = ", "key": "strid = 2", "type": 'stride = "2"', "least": "num-cpus = 0",
    "overwrite": "overwrite = true", "value": 'tasks = "7"',
}  # fmt: skip
"""Settings files."""


def _quarantine(out: Path) -> None:
    """Lets the plan say that episode 490010 was refused."""
    path = out / ".predecode/plan-000000.json"
    plan: dict[str, Any] = json.loads(path.read_text())
    episode = plan["episodes"][0]["episode"] | {"episode_index": 490010}
    fault = {
        "episode_index": 490010, "path": "x.mp4", "problem": "gone", "expected": "a", "got": "b",
    }  # fmt: skip
    path.write_text(json.dumps(plan | {"failed": [episode], "faults": [fault]}))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    (place / "b1k/meta").mkdir(parents=True)
    (place / "b1k/meta/info.json").write_text(json.dumps(INFO))
    (place / "b1k/meta/tasks.jsonl").write_text(lines(TASKS))
    (place / "b1k/meta/episodes.jsonl").write_text(lines(EPISODES))
    for folder in ("videos", "strange", "empty"):
        (place / folder).mkdir()
    (place / "videos/a.mp4").write_bytes(b"no video")
    (place / "strange/x").write_text("important")
    (place / "file").write_text("important")
    (place / "toml").mkdir()
    for name, text in FILES.items():
        (place / f"toml/{name}.toml").write_text(text)
    for name in ("out", "broken"):
        shutil.copytree(GOLDEN, place / name)
    _quarantine(place / "broken")
    return place


def _files(place: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


def _refused(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    said = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, said.out, said.err


@pytest.fixture(autouse=True)
def _no_work(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("something was to be done")

    monkeypatch.chdir(place)
    monkeypatch.delenv("B1K_ROOT", raising=False)
    monkeypatch.delenv("B1K_VIDEO_BACKEND", raising=False)
    monkeypatch.setattr("predecode.cluster.RayCluster.__init__", refuse)
    monkeypatch.setattr("signal.signal", lambda *_: None)


@pytest.mark.parametrize("line", ROWS)
def test_one_line_says_what_is_wrong_and_nothing_is_done(
    place: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _files(place)
    assert len(before) > 10
    status, out, said = _refused(line.split(), capsys)
    assert (status, out) == (2, "")
    assert re.fullmatch(r"error: [^\n]+\n", said), said
    assert re.search(ROWS[line], said.rstrip("\n")), said
    assert _files(place) == before
    assert not (place / "strange/.predecode").exists()


def test_what_is_no_single_word(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, said = _refused([*RUN.split(), "--name", "My Set"], capsys)
    assert (status, said.count("\n")) == (2, 1)
    assert "--name 'My Set': expected 1 to 40 of a-z" in said
    status, _, said = _refused([*RUN.split(), "--modalities", ""], capsys)
    assert (status, said.count("\n")) == (2, 1)
    assert "--modalities : expected one of rgb, depth, seg_instance_id" in said
    assert not (place / "new").exists() or not _files(place / "new")


def test_each_option_of_the_commands_has_a_row(place: Path) -> None:
    """But those that take any word, and flags and paths that cannot be wrong alone."""
    given = {word.partition("=")[0] for line in ROWS for word in line.split()}
    options = {
        name
        for command in typer.main.get_command(cli.app).commands.values()  # type: ignore[attr-defined]
        for parameter in command.params
        for name in parameter.opts
        if name.startswith("--")
    }
    assert place.is_dir()
    assert len(options) > 25
    assert options - given == {
        "--address", "--full-size", "--overwrite", "--quiet", "--task-info", "--verbose", "--wandb",
    }  # fmt: skip
