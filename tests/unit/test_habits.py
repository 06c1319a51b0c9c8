"""What contributors are told to run is there."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_hooks_and_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z-]+)", (ROOT / "docs/CONTRIBUTING.md").read_text()))
    assert named
    assert named <= targets
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    scripts = {hook["id"]: hook["entry"].split()[0] for hook in repo["hooks"]}
    assert set(scripts) == {"ruff-format", "ruff-check", "mypy", "docs"}
    for script in scripts.values():
        assert (ROOT / script).exists()
