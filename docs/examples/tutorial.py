"""From nothing to items: make a small data set, plan, run, verify, and read what was stored.

python docs/examples/tutorial.py FOLDER     everything is made below FOLDER, what stands is kept

Needs the extra [run]; no notebook, no GPU, no network. Some minutes on two cores, most of it
encoding the sample.
"""

import sys
from pathlib import Path

import predecode
from train_shards.dataset import ShardDataset


def main(folder: Path) -> None:
    """Makes ``FOLDER/b1k`` and ``FOLDER/shards``."""
    root, out = folder / "b1k", folder / "shards"
    if not root.exists():
        made = predecode.sample(out=root, edition="rft")
        print(f"sample: {made.num_episodes} episodes, {made.num_frames} frames")

    # What would it take? Nothing is written but the file of settings.
    told = predecode.plan(src="b1k", root=root, size="64", frames=40, save=folder / "run.toml")
    print(f"plan: {told.num_images} images, about {told.total_bytes / 1e6:.1f} MB")

    # The run of that file. The same call again goes on from wherever this one was stopped.
    stored = predecode.run(**predecode.read_settings(folder / "run.toml"), out=out)
    print(f"run: {stored}")
    for one in stored.quarantined:
        print(f"missing: {one.fault}; after repair: {one.retry}")

    # Every frame is the right frame: files hashed, pictures decoded again, items compared.
    report = predecode.verify(out, sample=20)
    print(f"verify: {report.status}")
    if report.status != "proven":
        sys.exit("\n".join(map(str, report.findings)))

    # Training reads the shards alone: no video decoder is imported for it.
    dataset = ShardDataset(out)
    item = dataset[0]
    picture = item["observation.images.rgb.head"]
    print(f"read: {len(dataset)} items; head {picture.shape} {picture.dtype}; {item['task']}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
