"""The house: a file imports only what stands below it, and each library has one door."""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# From the top of each house to its cellar; ``train_shards`` is below all of ``predecode``.
PREDECODE = [
    "__main__", "cli", "commands.run", "commands.plan", "commands.retry", "commands.drop",
    "commands.verify", "commands.status", "commands.sample", "commands.inspect",
    "commands.doctor", "commands.version", "commands.summary", "commands.options",
    "commands.words", "commands.help",
    "api.run", "api.plan", "api.retry", "api.drop", "api.verify", "api.sample", "api.asked",
    "api.storing", "api.run_result", "api.work", "api.settings_file",
    "api.run_options", "api.retry_options", "api.drop_options", "api.verify_options",
    "api.sample_options", "api.option",
    "verification.levels", "verification.lines", "verification.jobs", "verification.on_node",
    "verification.samples", "verification.tables", "verification.draw",
    "verification.structure", "verification.shard", "verification.pictures",
    "verification.image_difference",
    "verification.backends", "verification.backend_matrix", "verification.agreement",
    "doctor", "machine_limits",
    "survey.copied", "survey.episodes", "survey.b1k", "survey.annotations", "survey.tables",
    "survey.videos", "survey.findings",
    "verification.page", "verification.wording", "verification.report",
    "inspection.page", "inspection.lines", "inspection.shown", "inspection.episode",
    "inspection.sheet", "inspection.sample", "inspection.pictures", "inspection.timeline",
    "inspection.summary", "inspection.texts", "inspection.found", "inspection.opened",
    "page.render", "page.wording", "page.plots", "page.charts",
    "online", "canary", "open_episodes", "reproduce", "run_log", "tracking", "status", "predicting",
    "choices", "job", "to_plan", "remote_place", "places", "free_space",
    "prediction_lines", "prediction", "header_sample", "core_time", "estimate",
    "standing_output", "dropping", "cutting", "replanning", "metadata_copies", "output",
    "for_run", "stored_plan", "manifest", "progress_lines", "dropped", "isolation",
    "task_process", "tasks", "measuring", "piece_costs", "sizing", "lowdim_task", "pipeline",
    "receipts", "encoded_samples", "planning", "frame_lists", "labels", "source_check",
    "frame_times",
    "config", "selection",
    "sources.registry", "sources.b1k", "sources.b1k_2026", "sources.lerobot",
    "sources.lerobot_features", "sources.camera_names", "sources.lerobot_v3",
    "sources.lerobot_v21", "sources.metadata", "sources.videos", "sources.tables",
    "sources.id_lists", "sources.instances", "sources.depth_formats", "sources.columns",
    "sources.pictures", "sources.episode",
    "sources.sample_damaged", "sources.sample_rft",
    "sources.sample", "sources.sample_2026", "sources.sample_build",
    "sources.sample_damage_2025", "sources.sample_damage_2026", "sources.sample_damage_files",
    "sources.sample_damage_annotations", "sources.sample_damage", "sources.sample_annotations",
    "sources.sample_metadata_2026", "sources.sample_metadata", "sources.sample_tables_2026",
    "sources.sample_tables", "sources.sample_video", "sources.sample_pictures",
    "sources.sample_layout_2026", "sources.sample_layout", "sources.barcode",
    "probe", "video.ssim", "video.kept_open", "video.backends", "video.probe",
    "video.video_reader", "video.video_reader_worker", "video.torchcodec", "video.conversions",
    "video.pyav", "video.spare_packets", "video.image_column", "video.decoder", "video.packets",
    "video.mp4_tables", "video.matroska_size", "video.container",
    "images.stored", "images.segmentation", "images.resize_native", "images.resize",
    "shard_writer", "cluster", "head_watch", "node_sizes", "progress", "remote_lock",
    "lock",
    "links", "child", "injection", "parquet_footer", "display", "stages", "errors",
]  # fmt: skip
TRAIN_SHARDS = [
    "__main__", "behavior", "mixture", "frame_choice", "behavior_items", "frame_stream",
    "skill_weights", "frame_texts", "orchestrators",
    "launch", "feeding", "feed_canary", "feed_line", "run_folder", "replace", "lerobot",
    "train", "batches", "train_config", "train_log", "wandb_run", "checkpoint", "policy", "ranks",
    "norm_stats", "norm_stats_file", "quantiles",
    "canary", "stream", "storage_order", "sampling", "weighted_order",
    "joined", "dataset", "ahead", "shared_work", "items", "images", "instances", "episode_names",
    "metadata_files",
    "prompts", "phrases", "reader", "run_rows", "selection", "windows", "lowdim", "index", "ledger",
    "manifest", "remote_folder", "remote_storage", "node_cache", "storage", "codec", "npy", "depth",
    "run_scope", "order", "permutation", "format", "b1k_state", "bounds",
    "allocator", "errors",
]  # fmt: skip

HOUSE = [f"predecode.{name}" for name in PREDECODE] + [f"train_shards.{n}" for n in TRAIN_SHARDS]

DOORS = {
    "ray": ["predecode/cluster.py"],
    "rich": ["predecode/progress.py"],
    "typer": ["predecode/cli.py", "predecode/commands"],
    "tarfile": ["predecode/shard_writer.py"],
    "simplejpeg": ["train_shards/codec.py"],
    "fsspec": ["train_shards/remote_storage.py"],
    "av": [
        "predecode/sources/sample_video.py",
        "predecode/video/container.py",
        "predecode/video/conversions.py",
        "predecode/video/packets.py",
        "predecode/video/probe.py",
        "predecode/video/pyav.py",
        "predecode/video/spare_packets.py",
        "predecode/video/ssim.py",
    ],
    "jinja2": ["predecode/page/render.py"],
    "hydra": ["train_shards/train_config.py"],
    "wandb": ["train_shards/wandb_run.py"],
    "torch": [
        "predecode/video/video_reader_worker.py",
        "train_shards/batches.py",
        "train_shards/behavior.py",
        "train_shards/checkpoint.py",
        "train_shards/policy.py",
        "train_shards/ranks.py",
        "train_shards/stream.py",
        "train_shards/train.py",
    ],
    "torchcodec": ["predecode/video/torchcodec.py"],
    "torchvision": ["predecode/video/video_reader_worker.py"],
    "pickle": [],
}


@functools.cache
def modules() -> dict[str, Path]:
    found = {}
    for package in ("predecode", "train_shards"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            if not name.endswith("__init__"):
                found[name] = path
    return found


@functools.cache
def imports_of(path: Path) -> set[str]:
    """Every module imported anywhere in a file, also inside functions and type-checking blocks."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_file_has_its_place_in_the_house() -> None:
    assert sorted(modules()) == sorted(HOUSE)


@pytest.mark.parametrize("name", HOUSE)
def test_a_file_imports_only_what_stands_below_it(name: str) -> None:
    place = HOUSE.index(name)
    own = {imported for imported in imports_of(modules()[name]) if imported in HOUSE}
    assert {imported for imported in own if HOUSE.index(imported) <= place} == set()


@pytest.mark.parametrize("library", DOORS)
def test_a_library_has_one_door(library: str) -> None:
    users = {
        _door(path.relative_to(ROOT))
        for path in modules().values()
        if any(name.split(".")[0] == library for name in imports_of(path))
    }
    assert sorted(users) == DOORS[library]


def _door(path: Path) -> str:
    """A file; the commands are one door together."""
    return (path.parent if path.parent.name == "commands" else path).as_posix()


def test_the_reading_side_knows_no_decoder() -> None:
    banned = {"av", "torchcodec", "torchvision", "ray", "predecode"}
    read = [path for name, path in modules().items() if name.startswith("train_shards")]
    assert len(read) == len(TRAIN_SHARDS)
    for path in read:
        assert not banned & {name.split(".")[0] for name in imports_of(path)}, path


def test_the_worker_under_another_python_needs_nothing_of_ours() -> None:
    path = modules()["predecode.video.video_reader_worker"]
    roots = {name.split(".")[0] for name in imports_of(path)}
    assert roots == {
        "ctypes",
        "json",
        "os",
        "pathlib",
        "re",
        "sys",
        "typing",
        "torch",
        "torchvision",
    }
