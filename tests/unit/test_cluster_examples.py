"""What docs/cluster.md and its examples say is what KubeRay, bash and our own command line take."""

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from predecode.cli import app

DOCS = Path(__file__).parents[2] / "docs"
GUIDE, RAYJOB, SLURM = (
    DOCS / name for name in ("cluster.md", "examples/rayjob.yaml", "examples/predecode.slurm")
)
DOCKERFILES = sorted((DOCS / "examples").glob("Dockerfile.*"))


def our_commands() -> Iterator[list[str]]:
    """Every ``predecode run …`` of the guide's blocks and of the examples."""
    blocks = re.findall(r"^```\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    for text in [*blocks, RAYJOB.read_text(), SLURM.read_text()]:
        for line in re.findall(r"\bpredecode run .*", text):
            yield shlex.split(line, comments=True)[1:]


def test_the_guide_and_both_examples_have_a_command() -> None:
    assert len(list(our_commands())) == 4


@pytest.mark.parametrize("words", list(our_commands()), ids=lambda words: " ".join(words[-4:]))
def test_our_command_line_takes_it(words: list[str]) -> None:
    command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    context = command.make_context("run", words[1:])
    assert context.params["src"] == "b1k"
    assert context.params["address"] is not None
    assert not context.args


def test_an_option_that_is_not_ours_would_be_seen() -> None:
    command = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    with pytest.raises(Exception, match="No such option"):
        command.make_context("run", ["--src", "b1k", "--out", "x", "--adress", "auto"])


def test_options_that_the_guide_names_are_ours() -> None:
    prose = set(re.findall(r"`(--[a-z-]+)", GUIDE.read_text()))
    options = {o for p in typer.main.get_command(app).commands["run"].params for o in p.opts}  # type: ignore[attr-defined]
    foreign = {"--working-dir", "--runtime-env-json", "--submission-id"}  # of ray job submit
    foreign |= {"--dashboard-host"}  # of ray start
    assert {"--memory-limit-mb", "--node-wait-s", "--num-cpus", "--address"} <= prose
    assert prose - foreign <= options


@pytest.fixture(scope="module")
def rayjob() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(RAYJOB.read_text())
    return found


def test_the_manifest_is_a_rayjob_of_the_operator(rayjob: dict[str, Any]) -> None:
    """Source: KubeRay's API reference, package ray.io/v1."""
    assert (rayjob["apiVersion"], rayjob["kind"]) == ("ray.io/v1", "RayJob")
    assert set(rayjob["spec"]) == {
        "entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec",
    }  # fmt: skip
    cluster = rayjob["spec"]["rayClusterSpec"]
    assert set(cluster) == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    assert set(cluster["headGroupSpec"]) == {"rayStartParams", "template"}
    (workers,) = cluster["workerGroupSpecs"]
    assert set(workers) == {
        "groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template",
    }  # fmt: skip
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for params in (cluster["headGroupSpec"]["rayStartParams"], workers["rayStartParams"]):
        assert all(isinstance(value, str) for value in params.values())  # a map of strings


def test_every_pod_sees_the_data_under_the_path_that_the_command_names(
    rayjob: dict[str, Any],
) -> None:
    cluster = rayjob["spec"]["rayClusterSpec"]
    pods = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    words = shlex.split(rayjob["spec"]["entrypoint"])
    for pod in pods:
        spec = pod["template"]["spec"]
        (container,) = spec["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert set(mounts) == {volume["name"] for volume in spec["volumes"]}
        for option in ("--root", "--out"):
            assert words[words.index(option) + 1].startswith(mounts["data"] + "/")
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_a_worker_has_memory_for_as_many_tasks_as_cpus(rayjob: dict[str, Any]) -> None:
    words = shlex.split(rayjob["spec"]["entrypoint"])
    task_mb = int(words[words.index("--memory-limit-mb") + 1])
    (workers,) = rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    limits = workers["template"]["spec"]["containers"][0]["resources"]["limits"]
    gib = int(limits["memory"].removesuffix("Gi"))
    assert gib * 1024**3 - 500_000_000 >= int(limits["cpu"]) * task_mb * 1_000_000


def test_bash_reads_the_slurm_script() -> None:
    subprocess.run(["bash", "-n", str(SLURM)], check=True)
    assert SLURM.read_text().startswith("#!/bin/bash\n")


def test_images_install_what_the_project_has_and_the_cluster_names(rayjob: dict[str, Any]) -> None:
    texts = {path.suffix: path.read_text() for path in DOCKERFILES}
    assert set(texts) == {".cpu", ".train"}
    root = DOCS.parent
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for text in texts.values():
        (named,) = re.findall(r"'\.\[([\w,]+)\]'", text)
        assert set(named.split(",")) <= set(extras)
        assert re.findall(r"^COPY (.*)", text, re.MULTILINE) == [". ."]
    ray = rayjob["spec"]["rayClusterSpec"]["rayVersion"]
    assert f"'ray[default]=={ray}'" in texts[".cpu"]
    assert f"\nray=={ray}\n" in (root / ".constraints.txt").read_text()
    context = re.findall(r"^!(.*)", (root / ".dockerignore").read_text(), re.MULTILINE)
    assert {"predecode/", "train_shards/", "pyproject.toml", ".constraints.txt"} <= set(context)
    assert all((root / name).exists() for name in context)
