"""Makes a small set of rollouts, laid out and described as those for reinforced fine-tuning are.

The layout is that of 2025; pictures and rows are sound, what describes them is not. Source: the
conversion of openpi-comet's rollouts:

* x264 (``veryfast``, crf 23, header in front) of selected frames, timed anew from 0; three RGB
  videos an episode, where ``info.json`` declares nine, of libx265;
* no ``observation.cam_rel_poses``; ``observation.task_info`` is an empty list in every row;
* the JSON of a task's first episode stands for all of its episodes, and ``total_frames`` is the sum
  of what these copies say;
* an annotation is one skill that lasts the whole episode.

The barcode of a picture tells the frame after the selection.
"""

from pathlib import Path

from predecode.display import SILENT, Display
from predecode.sources.sample import build_sample
from predecode.sources.sample_annotations import write_touching_skills
from predecode.sources.sample_build import SampleSummary, built_at, count_processes, total_bytes
from predecode.sources.sample_damage_files import copy_metadata, sum_of_copies
from predecode.sources.sample_layout import FULL_SIZE_PX, SMALL_SIZE_PX, EpisodeSpec

__all__ = ["EPISODES_RFT", "make_sample_rft"]

EPISODES_RFT = (
    EpisodeSpec(10, 60, is_rft=True, has_orchestrators=True),
    EpisodeSpec(11, 45, is_rft=True),
    EpisodeSpec(30, 251, is_rft=True, has_subtasks=True),
    EpisodeSpec(490010, 75, is_rft=True),
    EpisodeSpec(490022, 52, is_rft=True),
)
"""All episodes; the last digit of an id counts attempts at one instance of a task."""


def make_sample_rft(
    root: Path,
    *,
    full_size: bool = False,
    num_processes: int | None = None,
    display: Display = SILENT,
) -> SampleSummary:
    """Makes the set at ``root``; same arguments, same bytes, as ``make_sample`` says.

    Args:
        root: where the data set shall stand; must not exist, or be an empty folder.
        full_size: pictures of 720 (head) and 480 pixels (wrists) rather than of 240 and 160.
        num_processes: encoders at work at once; None for one per core that this process may use.
        display: is told of the videos that are encoded.

    Raises:
        UserError: ``root`` exists and is not an empty folder, or ``num_processes`` is below 1.
    """
    num_processes = count_processes(num_processes)
    side_px = FULL_SIZE_PX if full_size else SMALL_SIZE_PX
    with built_at(root) as built:
        build_sample(built, EPISODES_RFT, ["rgb"], side_px, num_processes, _annotate, display)
        first: dict[int, int] = {}
        for spec in EPISODES_RFT:
            source = first.setdefault(spec.task_index, spec.episode_index)
            if source != spec.episode_index:
                copy_metadata(built, source, spec.episode_index)
        sum_of_copies(built)
        num_bytes = total_bytes(built)
    num_frames = sum(spec.length for spec in EPISODES_RFT)
    return SampleSummary(root, len(EPISODES_RFT), num_frames, num_bytes)


def _annotate(root: Path, spec: EpisodeSpec) -> None:
    write_touching_skills(root, spec, [spec.task.task_name.replace("_", " ")])
