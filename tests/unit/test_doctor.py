"""predecode doctor: limits as the kernel writes them, and what is said of what is missing."""

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import predecode.doctor
from predecode.cli import main
from predecode.doctor import Fact, examine, fact_lines
from predecode.machine_limits import Limits, cgroup_cpus, cgroup_memory_bytes, machine_limits

POOR = Limits(8, 0.5, 2_000_000_000, 64 << 20, 1024, 4096)
RICH = Limits(64, 64, 512_000_000_000, 64 << 30, 65536, 65536)


def written(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_max", ".max").replace("cfs", "cpu.cfs")
        path = path.with_name(path.name.replace("memory_limit", "memory.limit"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "cpus", "memory_bytes"),
    [
        ({"cpu_max": "150000 100000\n", "memory_max": "8589934592\n"}, 1.5, 8589934592),
        ({"cpu_max": "max 100000\n", "memory_max": "max\n"}, None, None),
        (
            {
                "cpu__cfs_quota_us": "400000\n",
                "cpu__cfs_period_us": "100000\n",
                "memory__memory_limit_in_bytes": "1073741824\n",
            },
            4.0,
            1073741824,
        ),
        (
            {
                "cpu__cfs_quota_us": "-1\n",
                "cpu__cfs_period_us": "100000\n",
                "memory__memory_limit_in_bytes": "9223372036854771712\n",
            },
            None,
            None,
        ),
        ({}, None, None),
    ],
)
def test_limits_of_both_versions_of_cgroups(
    tmp_path: Path, files: dict[str, str], cpus: float | None, memory_bytes: int | None
) -> None:
    root = written(tmp_path, **files)
    assert cgroup_cpus(root) == cpus
    assert cgroup_memory_bytes(root) == memory_bytes


def test_this_machine_has_limits() -> None:
    limits = machine_limits()
    assert 0 < limits.usable_cpus <= limits.num_cpus
    assert limits.memory_bytes > 100_000_000
    assert 0 < limits.open_files <= limits.most_open_files


def by_name(limits: Limits) -> dict[str, Fact]:
    return {fact.name: fact for fact in examine(limits, Path("shards"), {})}


@pytest.mark.slow
def test_each_limit_that_is_too_low_has_a_command() -> None:
    poor, rich = by_name(POOR), by_name(RICH)
    wanted = {
        "memory": "predecode run --memory-limit-mb 2000",
        "shared memory": "docker run --shm-size=8g, or mount -o remount,size=8G /dev/shm",
        "open files": "ulimit -n 4096",
    }
    for name, fix in wanted.items():
        assert (poor[name].is_fine, poor[name].fix) == (False, fix)
        assert (rich[name].is_fine, rich[name].fix) == (True, "")
    assert poor["CPUs"].value == "0.5 of 8 usable"
    assert poor["pyav"].is_fine
    assert poor["av"].value == version("av")


@pytest.mark.slow
def test_what_a_run_needs_and_lacks_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_two(package: str) -> str:
        if package in ("jinja2", "s3fs"):
            raise PackageNotFoundError(package)
        return version(package)

    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--json"])
    assert ended.value.code == 0
    facts = json.loads(capsys.readouterr().out)
    assert {fact["name"] for fact in facts} >= {"av", "pyav", "torchcodec", "video_reader", "CPUs"}
    monkeypatch.setattr(predecode.doctor, "version", without_two)
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    (jinja2,) = (number for number, line in enumerate(lines) if "jinja2" in line)
    assert lines[jinja2].split() == ["MISSING", "jinja2", "not", "installed"]
    assert lines[jinja2 + 1].strip() == "pip install 'predecode[run]'"
    (s3fs,) = (line for line in lines if "s3fs" in line)
    assert s3fs.split()[0] == "-"


def test_lines_stand_below_their_topic() -> None:
    facts = [
        Fact(topic="a", name="one", value="1", is_fine=True),
        Fact(topic="a", name="longer", value="2", is_fine=False, is_needed=True, fix="mend it"),
        Fact(topic="b", name="two", value="3", is_fine=False),
    ]
    assert list(fact_lines(facts)) == [
        "a",
        "  ok      one     1",
        "  MISSING longer  2",
        "                  mend it",
        "b",
        "  -       two     3",
    ]


def test_version_names_the_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    said = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    assert said["predecode"] == version("predecode")
    assert said["av"] == version("av")
