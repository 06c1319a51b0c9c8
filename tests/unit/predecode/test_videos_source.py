"""A folder of videos: listed in order, opened by nobody."""

from pathlib import Path

import pytest

from predecode.sources.videos import CAMERA, VideosSource
from train_shards.errors import UserError


def folder(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_every_video_is_an_episode_in_the_order_of_its_path(tmp_path: Path) -> None:
    root = folder(tmp_path, "b.mp4", "a/z.MKV", "a/c.webm", "c.mov", "d.avi", "e.m4v")
    source = VideosSource(root)
    paths = [episode.videos[CAMERA].path for episode in source.episodes]
    assert paths == ["a/c.webm", "a/z.MKV", "b.mp4", "c.mov", "d.avi", "e.m4v"]
    assert [episode.episode_index for episode in source.episodes] == [0, 1, 2, 3, 4, 5]


def test_what_such_an_episode_knows(tmp_path: Path) -> None:
    source = VideosSource(folder(tmp_path, "b.mp4"))
    (episode,) = source.episodes
    assert (source.kind, source.root, source.task_names) == ("videos", tmp_path, {})
    assert source.cameras == {"video": "video"}
    assert (episode.task_index, episode.task) == (0, "")
    assert (episode.num_frames, episode.fps, episode.table) == (None, None, None)
    span = episode.videos["video"]
    assert (span.key, span.start, span.stream_index) == ("video", 0, None)
    assert source.metadata_files(source.episodes) == []


def test_other_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    root = folder(tmp_path, "b.mp4", "notes.txt", "mp4", "c.mp4.part")
    (root / "folder.mp4").mkdir()
    assert [e.videos[CAMERA].path for e in VideosSource(root).episodes] == ["b.mp4"]


def test_a_folder_without_videos_says_what_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no video found; expected files ending in .avi .m4v .mkv .mov .mp4 .webm"
    ) as caught:
        VideosSource(folder(tmp_path, "notes.txt"))
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(UserError, match="none: no video found"):
        VideosSource(tmp_path / "none")
