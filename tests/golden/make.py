"""Makes the golden output of the current format version: ``make golden``; review the difference.

Never run for an older version: every released major and minor stays as it was written.
"""

import shutil
import tempfile
from pathlib import Path

from predecode.sources.sample import make_sample
from tests.support.jobs import run_here
from train_shards.format import FORMAT_MAJOR, FORMAT_MINOR

EPISODE = 10
HERE = Path(__file__).parent


def main() -> None:
    out = HERE / f"v{FORMAT_MAJOR}.{FORMAT_MINOR}"
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "b1k"
        make_sample(root, episode_indices=[EPISODE])
        run_here(
            root, out, modalities="rgb,depth,seg_instance_id", size="64", stride=40, quality=85,
            embed_lowdim=True,
        )  # fmt: skip
        plan = out / ".predecode/plan-000000.json"
        plan.write_text(plan.read_text().replace(str(root), "/source"))
    shutil.rmtree(out / "meta")


if __name__ == "__main__":
    main()
