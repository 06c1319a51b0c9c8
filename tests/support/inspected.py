"""A tiny output that ``predecode inspect`` can look at: pictures of one colour, texts, a plan."""

from pathlib import Path

import pytest

from predecode.cli import main
from predecode.planning import LowdimTask, Piece, Plan, PlannedEpisode, ShardTask
from predecode.source_check import InputFile
from predecode.sources.episode import Episode, TableSpan, VideoSpan
from tests.support.stored import CAMERAS, settings_of
from tests.support.texts import EPISODES, output_with_texts
from train_shards.format import plan_path
from train_shards.manifest import FormatVersion, encode_json

__all__ = ["ROOT", "inspect_here", "inspected_output"]

ROOT = "/gone/source"


def inspected_output(out: Path) -> Path:
    """Writes the output of ``texts.py`` with its plan; its source is not there."""
    output_with_texts(out)
    planned = [
        PlannedEpisode(
            episode=Episode(
                episode_index=e.episode_index, task_index=e.task_index, task="", fps=(30, 1),
                num_frames=e.num_frames, table=TableSpan(path=f"{e.episode_index}.parquet"),
                videos={
                    camera: VideoSpan(key=key, path=f"{camera}.mp4", start=100 * number)
                    for camera, key in CAMERAS.items()
                },
            ),
            num_frames=e.num_frames,
            split="train",
            inputs=[InputFile(path=f"{e.episode_index}.parquet", num_bytes=7, digest="t" * 32)]
            + [InputFile(path=f"{camera}.mp4", num_bytes=9, digest="v" * 32) for camera in CAMERAS],
        )
        for number, e in enumerate(EPISODES)
    ]  # fmt: skip
    pieces = [Piece(e.episode_index, 0, e.num_frames, e.num_frames) for e in EPISODES]
    plan = Plan(
        format=FormatVersion(), generation=0, settings=settings_of(), root=ROOT, probe="probe",
        environment={}, episodes=planned, failed=[], faults=[],
        shards=[ShardTask(shard_index=0, split="train", pieces=pieces)],
        tables=[LowdimTask(table_index=0, episodes=[e.episode_index for e in EPISODES])],
    )  # fmt: skip
    (out / plan_path(0)).write_bytes(encode_json(plan))
    return out


def inspect_here(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Exit status, output and errors of ``predecode inspect`` in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("signal.signal", lambda *_: None)
        with pytest.raises(SystemExit) as ended:
            main(["inspect", *map(str, words)])
    said = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, said.out, said.err
