"""What is said about a frame, as training reads it: task, prompt, annotated skills."""

from typing import Any, NamedTuple

from predecode.inspection.opened import OpenOutput, StoredEpisode
from train_shards.b1k_state import LAYOUT_2026
from train_shards.frame_texts import FrameTexts
from train_shards.prompts import Segment, segment_text

__all__ = ["OutputTexts", "Said"]


class Said(NamedTuple):
    """What is said about one frame."""

    task_index: int
    task: str
    """The task's sentence, ``""`` where the source has none."""
    prompt: str
    """Level 0 of the orchestrators, else the episode's sentence, else the task's."""
    skill: str | None
    """None where no skill is annotated."""


class OutputTexts:
    """The texts of an output; of BEHAVIOR-1K from its metadata, of others the manifest's."""

    def __init__(self, output: OpenOutput) -> None:
        """Opens nothing."""
        self._output, settings = output, output.settings
        self._texts: FrameTexts | None = None
        if settings.known_state_layout:  # of BEHAVIOR-1K alone
            has_skills = output.files.may_have("meta/annotations")
            self._texts = FrameTexts(
                output.files,
                "meta/",
                level=0,
                skills_by="skill_description" if has_skills else None,
                by_raw_id=settings.known_state_layout == LAYOUT_2026,
            )

    def at(self, episode: StoredEpisode, frame: int, columns: dict[str, Any]) -> Said:
        """Returns what is said about a frame.

        Args:
            episode: its episode.
            frame: of the episode.
            columns: of the episode.

        Raises:
            DataError: a file of the metadata is not what it should be.
        """
        task_index = episode.span.task_index
        if self._output.settings.has_row_tasks:
            task_index = int(columns["task_index"][frame])
        task = self._output.manifest.tasks.get(task_index, "")
        prompt = task
        if self._texts is not None:
            prompt, _ = self._texts.at(episode.span.episode_index, task_index, frame, task)
        return Said(task_index, task, prompt, segment_text(self.skills(episode), frame))

    def skills(self, episode: StoredEpisode) -> list[Segment]:
        """Returns the annotated skills of an episode in order; none where there are none.

        Raises:
            DataError: as ``at``.
        """
        if self._texts is None:
            return []
        return self._texts.annotated_skills(episode.span.episode_index, episode.span.task_index)
