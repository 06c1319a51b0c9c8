"""Makes the golden outputs of the current format versions: ``make golden``; review the difference.

Never run for an older version: every released major and minor stays as it was written.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from predecode.for_run import AskedRun
from predecode.sources.sample import make_sample
from tests.support.jobs import run_here
from train_shards.format import FORMAT_MAJOR, FORMAT_MINOR, RUN_MAJOR

EPISODE = 10
HERE = Path(__file__).parent


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "b1k"
        make_sample(root, episode_indices=[EPISODE])
        make(
            root, f"v{FORMAT_MAJOR}.{FORMAT_MINOR}", modalities="rgb,depth,seg_instance_id",
            embed_lowdim=True,
        )  # fmt: skip
        make(root, f"v{RUN_MAJOR}.0", cameras="head", for_run=AskedRun(2, 1, seed=1))


def make(root: Path, name: str, **options: Any) -> None:
    out = HERE / name
    shutil.rmtree(out, ignore_errors=True)
    run_here(root, out, size="64", stride=40, quality=85, **options)
    plan = out / ".predecode/plan-000000.json"
    plan.write_text(plan.read_text().replace(str(root), "/source"))
    shutil.rmtree(out / "meta")


if __name__ == "__main__":
    main()
