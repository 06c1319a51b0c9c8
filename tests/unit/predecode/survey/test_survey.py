"""The survey of a data set: figures against ffprobe, each fault made and seen reported."""

import json
import math
import pickle
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from predecode.cluster import InProcess
from predecode.errors import EpisodeError, InfraError
from predecode.source_check import check_episode
from predecode.sources.registry import open_source
from predecode.survey import episodes as source_module
from predecode.survey.episodes import source_level, survey_episodes, survey_jobs
from predecode.verification.report import CameraSurvey, Finding, SourceSurvey
from tests.support.jobs import Reversed
from tests.support.media import make

pytestmark = pytest.mark.slow

VIDEO = "videos/task-0000/observation.images.rgb.{}/episode_00000020.mp4"
HEAD = VIDEO.format("head")
TABLE = "data/task-0000/episode_00000020.parquet"
ANNOTATION = "annotations/task-0000/episode_00000020.json"
METADATA = "meta/episodes/task-0000/episode_00000020.json"
CAMERAS = ("head", "left_wrist", "right_wrist")


def survey(
    root: Path, kind: str = "b1k", cluster: InProcess | None = None
) -> tuple[SourceSurvey, list[Finding]]:
    source = open_source(kind, root)
    runs = (cluster or InProcess()).run(survey_episodes, survey_jobs(source), lambda _: None)
    return source_level(source, [verdict for _, verdict in runs])


def lines(root: Path, kind: str = "b1k") -> list[str]:
    return [str(finding) for finding in survey(root, kind)[1]]


# --- a sound set ----------------------------------------------------------------------------------

SAMPLE_REMARKS = """
annotations/task-0000/episode_00000010.json, key ep00000010: remark: annotation-tail: expected skills to frame 120, got 20 frames after the last skill
annotations/task-0000/episode_00000010.json, key ep00000010: remark: annotation-tail: expected primitives to frame 120, got 20 frames after the last primitive
annotations/task-0000/episode_00000020.json, key ep00000020: remark: annotation-gap: expected skills without gaps, got 1 gap of 15 frames
annotations/task-0000/episode_00000020.json, key ep00000020: remark: annotation-overlap: expected one skill a frame, got 1 overlap of 10 frames
annotations/task-0000/episode_00000040.json, key ep00000040: remark: annotation-skill: expected a skill_description, got skill 2: [None]
annotations/task-0049/episode_00490010.json, key ep00490010: remark: annotation-empty-range: expected ranges that end after they start, got skill 1: [192, 150]
annotations/task-0049/episode_00490010.json, key ep00490010: remark: annotation-tail: expected skills to frame 501, got 11 frames after the last skill
annotations/task-0049/episode_00490010.json, key ep00490010: remark: annotation-duration: expected skills within valid_duration [0, 450], got one ends at 490
annotations/task-0049/episode_00490010.json, key ep00490010: remark: annotation-tail: expected primitives to frame 501, got 11 frames after the last primitive
annotations/task-0049/episode_00490010.json, key ep00490010: remark: annotation-duration: expected primitives within valid_duration [0, 450], got one ends at 490
annotations/task-0049/episode_00490040.json, key ep00490040: remark: missing-file: expected annotation, there for 1 episode of the task, got no file
""".strip().splitlines()  # noqa: E501
"""What the sample shows on purpose, as published sets do."""


def packets(path: Path, entries: str = "pts,flags,size") -> list[dict[str, Any]]:
    """What ffprobe says of a file's best video stream, in the order of pts."""
    words = f"ffprobe -v error -select_streams v:0 -show_entries packet={entries} -of json"
    output = subprocess.run([*words.split(), str(path)], check=True, capture_output=True).stdout
    found: list[dict[str, Any]] = json.loads(output)["packets"]
    return sorted(found, key=lambda packet: int(packet["pts"]))


def gaps_of(path: Path) -> Counter[int]:
    flags = [packet["flags"] for packet in packets(path)]
    keyframes = [rank for rank, flag in enumerate(flags) if flag.startswith("K")]
    ends = [*keyframes[1:], len(flags)]
    return Counter(end - start for start, end in zip(keyframes, ends, strict=True))


def test_a_sound_set_has_no_fault_and_the_figures_of_ffprobe(b1k_root: Path) -> None:
    found, findings = survey(b1k_root)
    assert [str(finding) for finding in findings] == SAMPLE_REMARKS
    assert {finding.level for finding in findings} == {"source"}
    assert (found.kind, found.num_episodes, found.num_frames) == ("b1k", 5, 1712)
    assert found.cameras["head"].keyframe_gaps == {1: 1, 90: 1, 120: 2, 131: 1, 250: 5}
    assert list(found.cameras) == list(CAMERAS)
    tables = sorted(b1k_root.glob("data/*/*.parquet"))
    num_bytes = sum(path.stat().st_size for path in tables)
    for camera, figures in found.cameras.items():
        videos = sorted(b1k_root.glob(f"videos/*/*.rgb.{camera}/*.mp4"))
        assert len(videos) == 5
        assert figures == CameraSurvey(
            num_videos=5,
            num_frames=sum(len(packets(path)) for path in videos),
            num_bytes=sum(path.stat().st_size for path in videos),
            keyframe_gaps=dict(sum((gaps_of(path) for path in videos), Counter())),
            largest_jitter_ticks=0,
        )
        num_bytes += figures.num_bytes
    assert found.num_bytes == num_bytes


def test_slices_travel_and_come_in_any_order(
    b1k_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = survey(b1k_root)
    monkeypatch.setattr(source_module, "_SLICE_EPISODES", 2)
    jobs = survey_jobs(open_source("b1k", b1k_root))
    assert [[e.episode_index for e in job.episodes] for job in jobs] == [
        [10, 20], [40, 490010], [490040],
    ]  # fmt: skip
    assert [job.name for job in jobs] == [
        "survey from ep00000010", "survey from ep00000040", "survey from ep00490040",
    ]  # fmt: skip
    assert survey(b1k_root, cluster=Reversed()) == whole
    reports: list[int] = []
    verdict = survey_episodes(pickle.loads(pickle.dumps(jobs[1])), reports.append)
    assert reports == [1, 1]
    assert pickle.loads(pickle.dumps(verdict)) == verdict
    assert [episode.num_frames for episode in verdict.episodes] == [751, 501]


def test_a_root_that_vanishes_is_no_fault_of_an_episode(own_root: Path) -> None:
    (job,) = survey_jobs(open_source("b1k", own_root))
    shutil.rmtree(own_root)
    with pytest.raises(InfraError, match="the source's folder is gone"):
        survey_episodes(job, lambda _: None)


# --- damage, each kind by itself ------------------------------------------------------------------


def ffmpeg(source: Path, target: Path, *words: str) -> None:
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(source), *words]
    subprocess.run([*command, "-video_track_timescale", "15360", str(target)], check=True)


ENCODER = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "50")


def encode(path: Path, *words: str) -> None:
    """Encodes a video anew: no B frames, keyframes every 50 pictures, 512 ticks a picture."""
    plain = path.with_suffix(".plain.mp4")
    ffmpeg(path, plain, *ENCODER, *words)
    plain.replace(path)


def filter_packets(path: Path, bitstream_filter: str) -> None:
    encode(path)
    filtered = path.with_suffix(".filtered.mp4")
    ffmpeg(path, filtered, "-c", "copy", "-copyinkf", "-bsf:v", bitstream_filter)
    filtered.replace(path)


def pts_gap(root: Path) -> None:
    filter_packets(root / HEAD, "setts=ts='TS+1024*gte(TS,512*100)'")


def pts_gaps_of_dropped_pictures(root: Path) -> None:
    drop = "+".join(f"eq(n,{number})" for number in (20, 21, 60, 70, 80))
    filter_packets(root / HEAD, f"noise=drop='{drop}'")


def late_picture(root: Path) -> None:
    filter_packets(root / HEAD, "setts=ts='TS+5*eq(TS,512*100)'")


def picture_one_tick_late(root: Path) -> None:
    filter_packets(root / HEAD, "setts=ts='TS+eq(TS,512*100)'")


def no_first_keyframe(root: Path) -> None:
    filter_packets(root / HEAD, "noise=drop='not(n)'")


def shorter_video(root: Path) -> None:
    encode(root / HEAD, "-frames:v", "248")


def longer_video(root: Path) -> None:
    shutil.copy(root / "videos/task-0000/observation.images.rgb.head/episode_00000040.mp4",
                root / HEAD)  # fmt: skip
    encode(root / HEAD, "-frames:v", "251")


def other_frame_rate(root: Path) -> None:
    path = root / HEAD
    slow = path.with_suffix(".slow.mp4")
    command = f"ffmpeg -v error -r 25 -i {path} -c:v libx264 -preset ultrafast -bf 0 {slow}"
    subprocess.run(command.split(), check=True)
    slow.replace(path)


def cut_video(root: Path) -> None:
    data = (root / HEAD).read_bytes()
    (root / HEAD).write_bytes(data[:10_000])


def change_table(**columns: Any) -> Callable[[Path], None]:
    """Other values in columns of the table; ``...`` drops one."""

    def change(root: Path) -> None:
        table = pq.read_table(root / TABLE)
        for name, values in columns.items():
            place = table.column_names.index(name)
            table = table.remove_column(place)
            if values is not ...:
                table = table.add_column(place, name, pa.array(values))
        pq.write_table(table, root / TABLE)

    return change


def damaged_name(root: Path) -> None:
    data = (root / TABLE).read_bytes()
    (root / TABLE).write_bytes(data.replace(b"task_index", b"task_\xc6ndex"))


def shorter_table(root: Path) -> None:
    pq.write_table(pq.read_table(root / TABLE).slice(0, 249), root / TABLE)


def swapped_rows(root: Path) -> None:
    order = [*range(100), 101, 100, *range(102, 250)]
    pq.write_table(pq.read_table(root / TABLE).take(order), root / TABLE)


def edit_json(path: str, **changes: Any) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        value = json.loads((root / path).read_text())
        (root / path).write_text(json.dumps(value | changes))

    return edit


def write(path: str, data: bytes) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        (root / path).write_bytes(data)

    return edit


def remove(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path).unlink()


def copy(path: str, target: str) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        shutil.copy(root / path, root / target)

    return edit


def append(path: str, row: dict[str, Any]) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        with (root / path).open("a") as file:
            file.write(json.dumps(row) + "\n")

    return edit


def at(path: str, line: str) -> str:
    return f"{path}, key ep00000020: {line}"


def remark(path: str, line: str) -> str:
    return at(path, f"remark: {line}")


SENTENCE = "Turn on the radio receiver that's on the table in the living room."
DAMAGE: list[tuple[str, Callable[[Path], None], list[str]]] = [
    ("table gone", remove(TABLE), [
        at(TABLE, "missing-file: expected a parquet file, got No such file or directory")]),
    ("table empty", write(TABLE, b""), [
        at(TABLE, "empty-file: expected a parquet file, got 0 bytes")]),
    ("table unreadable", write(TABLE, b"PAR0" * 100), [
        at(TABLE, "unreadable-table: expected a parquet file, got Parquet magic bytes not found")]),
    ("table with a damaged name", damaged_name, [
        at(TABLE, "unreadable-table: expected a parquet file, got 'utf-8' codec can't decode")]),
    ("table shorter", shorter_table, [
        at(TABLE, "rows: expected 250 rows, got 249 rows (rows disagree with the metadata)")]),
    ("rows swapped", swapped_rows, [
        at(TABLE, "timestamp: expected 3.333333 s, got 3.366667 s (timestamp of row 100)"),
        at(TABLE, "index: expected index 100 in row 100, got 101")]),
    ("times as text", change_table(timestamp=["0"] * 250), [
        at(TABLE, "columns: expected timestamp of numbers, got string")]),
    ("other ids", change_table(episode_index=[20] * 249 + [10], task_index=[49] * 250), [
        at(TABLE, "episode-id: expected episode_index 20 in every row, got 10"),
        at(TABLE, "task-id: expected task_index 0 in every row, got 49")]),
    ("index over the set", change_table(index=list(range(120, 370))), [
        remark(TABLE, "index-start: expected index 0 in row 0, got 120")]),
    ("actions with an empty cell", change_table(action=[[0.5] * 23] * 249 + [None]), [
        at(TABLE, "unreadable-table: expected 0, got 1 (column action has empty cells)")]),
    ("no vectors", change_table(action=[0.5] * 250), [
        at(TABLE, "columns: expected action of vectors, got double")]),
    ("no action", change_table(action=..., timestamp=...), [
        at(TABLE, "columns: expected timestamp, observation.state, action, "
                  "got no timestamp, action")]),
    ("no ids", change_table(index=..., episode_index=..., task_index=...), []),
    ("video gone", remove(HEAD), [
        at(HEAD, "missing-file: expected a video, got No such file or directory")]),
    ("video empty", write(HEAD, b""), [
        at(HEAD, "empty-file: expected a video, got 0 bytes")]),
    ("video cut", cut_video, [at(HEAD, "unreadable-video: expected ")]),
    ("video shorter", shorter_video, [
        at(HEAD, "pictures: expected 250 pictures, got 248 pictures, 2 missing at the end")]),
    ("video longer", longer_video, [
        at(HEAD, "pictures: expected 250 pictures, got 251 pictures")]),
    ("gap", pts_gap, [
        at(HEAD, "pts-gap: expected a picture at each frame's time, "
                 "got 1 gap: 3 frames from picture 99 to 100")]),
    ("pictures dropped", pts_gaps_of_dropped_pictures, [
        at(HEAD, "pictures: expected 250 pictures, got 245 pictures, 5 missing in gaps"),
        at(HEAD, "pts-gap: expected a picture at each frame's time, got 4 gaps: "
                 "3 frames from picture 19 to 20, 2 frames from picture 57 to 58, "
                 "2 frames from picture 66 to 67, 1 more")]),
    ("late picture", late_picture, [
        at(HEAD, "pts-jitter: expected picture 100 51200 ticks after the first, "
                 "got 51205 ticks; 1 picture further than a tick from the frame's time")]),
    ("one tick late", picture_one_tick_late, []),
    ("other rate", other_frame_rate, [
        at(HEAD, "pts-jitter: expected picture 1 426.667 ticks after the first, "
                 "got 512 ticks; 249 pictures further than a tick from the frame's time")]),
    ("no first keyframe", no_first_keyframe, [
        at(HEAD, "first-keyframe: expected a keyframe at or before picture 0, "
                 "got first keyframe at picture 49"),
        at(HEAD, "pictures: expected 250 pictures, got 249 pictures, 1 missing at the end")]),
    ("camera twice", copy(HEAD, VIDEO.format("left_wrist")), [
        at(VIDEO.format("left_wrist"),
           f"duplicate-video: expected its own pictures, got the packets of {HEAD}")]),
    ("annotation no JSON", write(ANNOTATION, b'{"task_name": '), [
        at(ANNOTATION, "annotation-unreadable: expected JSON, got ")]),
    ("annotation empty", write(ANNOTATION, b""), [
        at(ANNOTATION, "annotation-unreadable: expected JSON, got ")]),
    ("annotation not UTF-8", write(ANNOTATION, b'{"task_name": "\xff"}'), [
        at(ANNOTATION, "annotation-unreadable: expected JSON, got ")]),
    ("annotation of another task", edit_json(ANNOTATION, task_name="make pizza"), [
        at(ANNOTATION, "annotation-task: expected task 'turning_on_radio', got 'make pizza'")]),
    ("annotation gone", remove(ANNOTATION), [
        remark(ANNOTATION, "missing-file: expected annotation, there for 2 episodes of the task, "
                           "got no file")]),
    ("metadata of another episode", copy(METADATA.replace("20.json", "10.json"), METADATA), [
        remark(METADATA, "episode-metadata: expected num_samples 250, got num_samples 120"),
        remark(METADATA, "duplicate-metadata: expected its own file, "
                         f"got the bytes of {METADATA.replace('20.json', '10.json')}")]),
    ("metadata no JSON", write(METADATA, b"{}"), [
        remark(METADATA, "episode-metadata: expected num_samples 250, got Object missing ")]),
    ("metadata empty", write(METADATA, b""), [
        remark(METADATA, "empty-file: expected episode metadata, got 0 bytes")]),
    ("metadata gone", remove(METADATA), [
        remark(METADATA, "missing-file: expected episode metadata, there for 4 episodes, "
                         "got no file")]),
    ("totals", edit_json("meta/info.json", total_episodes=6, total_frames=1, total_tasks=None), [
        "meta/info.json: remark: totals: expected total_episodes 5, got 6",
        "meta/info.json: remark: totals: expected total_frames 1712, got 1",
        "meta/info.json: remark: totals: expected total_tasks 2, got None"]),
    ("task twice", append("meta/tasks.jsonl",
                          {"task_index": 0, "task_name": "turning_on_radio", "task": " "}), [
        "meta/info.json: remark: totals: expected total_tasks 3, got 2",
        "meta/tasks.jsonl: tasks: expected a sentence for each task, got none for task 0",
        "meta/tasks.jsonl: tasks: expected each task_index once, got 1 more than once: '0'",
        ("meta/tasks.jsonl: tasks: expected each task_name once, "
        "got 1 more than once: 'turning_on_radio'")]),
    ("unknown file", copy(HEAD, HEAD.replace("20.mp4", "30.mp4")), [
        ("videos/task-0000/observation.images.rgb.head: remark: unknown-file: expected only files "
        "that an episode of the metadata names, got 1 other: episode_00000030.mp4")]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("breaks", "expected"), [d[1:] for d in DAMAGE], ids=[d[0] for d in DAMAGE]
)
def test_damage_is_told_and_nothing_else(
    own_root: Path, breaks: Callable[[Path], None], expected: list[str]
) -> None:
    breaks(own_root)
    findings = survey(own_root)[1]
    found = sorted({str(finding) for finding in findings} - set(SAMPLE_REMARKS))
    assert len(found) == len(expected), found
    for line, start in zip(found, sorted(expected), strict=True):
        assert line.startswith(start)
    guilty = path_that_a_run_would_blame(own_root)
    assert guilty is None or guilty in {f.where for f in findings if f.is_fault}


def path_that_a_run_would_blame(root: Path) -> str | None:
    episode = next(e for e in open_source("b1k", root).episodes if e.episode_index == 20)
    try:
        check_episode(root, episode, CAMERAS)
    except EpisodeError as error:
        return error.fault.path
    return None


def test_faults_come_first(own_root: Path) -> None:
    (own_root / HEAD).unlink()
    found = survey(own_root)[1]
    assert [finding.is_fault for finding in found] == [True] + [False] * len(SAMPLE_REMARKS)


def test_every_file_of_an_episode_is_looked_at(own_root: Path) -> None:
    for path in (TABLE, HEAD, VIDEO.format("right_wrist")):
        (own_root / path).unlink()
    write(ANNOTATION, b"")(own_root)
    found, findings = survey(own_root)
    assert [(f.kind, f.where) for f in findings if f.is_fault] == [
        ("missing-file", TABLE),
        ("missing-file", HEAD),
        ("missing-file", VIDEO.format("right_wrist")),
        ("annotation-unreadable", ANNOTATION),
    ]
    assert [found.cameras[camera].num_videos for camera in CAMERAS] == [4, 5, 4]


def test_a_changed_rate_and_a_late_picture_show_in_the_jitter(own_root: Path) -> None:
    picture_one_tick_late(own_root)
    assert survey(own_root)[0].cameras["head"].largest_jitter_ticks == 1
    other_frame_rate(own_root)
    pts = [int(packet["pts"]) for packet in packets(own_root / HEAD)]
    largest = max(abs(time - pts[0] - Fraction(12800, 30) * rank) for rank, time in enumerate(pts))
    assert math.ceil(largest) == 21248  # 249 pictures, each 256/3 ticks later than the one before
    assert survey(own_root)[0].cameras["head"].largest_jitter_ticks == 21248


# --- copies, ids, tasks ---------------------------------------------------------------------------


def add_copy(root: Path, *, task: str = SENTENCE) -> None:
    """Episode 30: everything of episode 20 under its own id."""
    for path in (*(VIDEO.format(camera) for camera in CAMERAS), TABLE, METADATA, ANNOTATION):
        shutil.copy(root / path, root / path.replace("20.", "30."))
    table = root / TABLE.replace("20.", "30.")
    columns = pq.read_table(table)
    ids = columns.column_names.index("episode_index")
    pq.write_table(
        columns.set_column(ids, "episode_index", pa.array([30] * 250)), table, compression="snappy"
    )
    append("meta/episodes.jsonl", {"episode_index": 30, "tasks": [task], "length": 250})(root)


def of_copy(root: Path, kind: str) -> list[str]:
    return [line for line in lines(root) if f" {kind}:" in line]


def test_a_whole_copy_is_a_remark(own_root: Path) -> None:
    add_copy(own_root)
    path = HEAD.replace("20.", "30.")
    assert of_copy(own_root, "duplicate-episode") == [
        (
            f"{path}, key ep00000030: remark: duplicate-episode: expected a recording of its own, "
            "got that of ep00000020"
        )
    ]
    assert of_copy(own_root, "duplicate-video") == of_copy(own_root, "duplicate-table") == []


def test_a_whole_copy_with_another_sentence_is_a_fault(own_root: Path) -> None:
    add_copy(own_root, task="Turn it on, please.")
    (line,) = of_copy(own_root, "duplicate-episode")
    assert ", key ep00000030: duplicate-episode: expected a recording of its own" in line


def test_a_modality_that_some_episodes_lack_is_told(own_root: Path) -> None:
    depth = HEAD.replace(".rgb.", ".depth.")
    for number, data in ((10, b"not looked into"), (20, b"")):
        path = own_root / depth.replace("20.mp4", f"{number}.mp4")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    found = sorted(set(lines(own_root)) - set(SAMPLE_REMARKS))
    assert found == [
        remark(depth, "empty-file: expected observation.images.depth.head, got 0 bytes"),
        *(
            f"videos/task-{index // 10000:04d}/observation.images.depth.head/"
            f"episode_{index:08d}.mp4, key ep{index:08d}: remark: missing-file: "
            "expected observation.images.depth.head, there for 2 episodes, got no file"
            for index in (40, 490010, 490040)
        ),
    ]


def test_copied_videos_with_other_actions_are_faults(own_root: Path) -> None:
    add_copy(own_root)
    table = own_root / TABLE.replace("20.", "30.")
    columns = pq.read_table(table)
    place = columns.column_names.index("action")
    actions = columns["action"].to_pylist()
    actions[7], actions[8] = actions[8], actions[7]  # same values, same extremes
    pq.write_table(columns.set_column(place, "action", pa.array(actions, columns["action"].type)),
                   table)  # fmt: skip
    assert of_copy(own_root, "duplicate-episode") == of_copy(own_root, "duplicate-table") == []
    assert of_copy(own_root, "duplicate-video") == [
        f"{VIDEO.format(camera).replace('20.', '30.')}, key ep00000030: duplicate-video: "
        f"expected its own pictures, got the packets of {VIDEO.format(camera)}"
        for camera in CAMERAS
    ]


def test_copied_actions_with_other_videos_are_a_fault(own_root: Path) -> None:
    add_copy(own_root)
    for camera in CAMERAS:
        encode(own_root / VIDEO.format(camera).replace("20.", "30."))
    assert of_copy(own_root, "duplicate-episode") == of_copy(own_root, "duplicate-video") == []
    assert of_copy(own_root, "duplicate-table") == [
        (
            f"{TABLE.replace('20.', '30.')}, key ep00000030: duplicate-table: "
            f"expected its own actions, got those of {TABLE}"
        )
    ]


def test_sentences_and_ids_of_another_task_are_remarks(own_root: Path) -> None:
    add_copy(own_root, task="Turn it on, please.")
    assert of_copy(own_root, "unknown-task") == [
        (
            "meta/episodes.jsonl: remark: unknown-task: expected sentences of meta/tasks.jsonl, "
            "got 1 other: ep00000030"
        )
    ]
    rows = (own_root / "meta/tasks.jsonl").read_text().replace('"task_index": 0', '"task_index": 1')
    (own_root / "meta/tasks.jsonl").write_text(rows)
    assert of_copy(own_root, "id-rule") == [
        (
            "meta/episodes.jsonl: remark: id-rule: expected task_index episode_index // 10000, "
            "got 3 others: ep00000010, ep00000020, ep00000040"
        )
    ]


# --- a folder of videos ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.mark.parametrize(
    ("name", "jitter"), [("h264", 0), ("hevc_mkv", 1), ("hevc_short_gops", 0), ("av1", 0)]
)
def test_a_video_of_any_kind_has_the_figures_of_ffprobe(
    media: Path, tmp_path: Path, name: str, jitter: int
) -> None:
    path = Path(shutil.copy(make(name, media), tmp_path))
    found, findings = survey(tmp_path, "videos")
    assert findings == []
    num_frames, num_bytes = len(packets(path)), path.stat().st_size
    assert found == SourceSurvey(
        kind="videos",
        num_episodes=1,
        num_frames=num_frames,
        num_bytes=num_bytes,
        cameras={
            "video": CameraSurvey(
                num_videos=1,
                num_frames=num_frames,
                num_bytes=num_bytes,
                keyframe_gaps=dict(gaps_of(path)),
                largest_jitter_ticks=jitter,
            )
        },
    )


def test_uneven_times_are_measured_from_an_even_grid(media: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(make("hevc_uneven", media), tmp_path))
    pts = [int(packet["pts"]) for packet in packets(path)]
    step = Fraction(pts[-1] - pts[0], len(pts) - 1)
    largest = max(abs(time - pts[0] - rank * step) for rank, time in enumerate(pts))
    found, findings = survey(tmp_path, "videos")
    assert findings == []
    assert found.cameras["video"].largest_jitter_ticks == math.ceil(largest) > 100


def test_gaps_and_copies_of_plain_videos_are_remarks_broken_ones_faults(
    media: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(make("h264", media), tmp_path / "a.mp4"))
    shutil.copy(path, tmp_path / "b.mp4")
    encode(path)
    drop = path.with_suffix(".drop.mp4")
    ffmpeg(path, drop, "-c", "copy", "-bsf:v", "noise=drop='between(n,60,62)'")
    drop.replace(path)
    shutil.copy(tmp_path / "b.mp4", tmp_path / "c.mp4")
    (tmp_path / "d.mp4").write_bytes(b"no video")
    assert lines(tmp_path, "videos") == [
        (
            "d.mp4, key ep00000003: unreadable-video: expected a video file, "
            "got Invalid data found when processing input (file cannot be opened)"
        ),
        (
            "a.mp4, key ep00000000: remark: pts-gap: expected a picture at each frame's time, "
            "got 1 gap: 4 frames from picture 59 to 60"
        ),
        (
            "c.mp4, key ep00000002: remark: duplicate-episode: expected a recording of its own, "
            "got that of ep00000001"
        ),
    ]
