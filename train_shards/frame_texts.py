"""The texts of a data set's frames, read episode by episode from its metadata files.

Owns where these files stand and what is kept of them: the segments of the episodes last asked for,
in each process its own. The rules stand in ``prompts.py``.
"""

import logging
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import msgspec

from train_shards.episode_names import NamesInMetadata, name_by_id
from train_shards.errors import UserError
from train_shards.metadata_files import MetadataFiles
from train_shards.orchestrators import read_levels
from train_shards.phrases import Phrases
from train_shards.prompts import (
    Levels,
    Segment,
    annotated_segments,
    constant_runs,
    joined_segments,
    level_text,
    levels_of_sentence,
    segment_text,
    skill_segments,
    upstream_level_text,
    upstream_segment_text,
)

__all__ = ["FrameTexts", "SubtaskSource"]

SubtaskSource = Literal["orchestrator", "annotations_primitive", "annotations_skill"]

_LOG = logging.getLogger(__name__)
_CACHED_EPISODES = 4096
"""Of about 5 kB each."""
_SKILL_FIELDS = ("skill_type", "skill_description")

_T = TypeVar("_T")
_Templates = dict[str, dict[str, dict[str, Any]]]
_Names = dict[str, str | None]


class _EpisodeRow(msgspec.Struct):
    episode_index: int
    tasks: list[str] = []


class _TaskRow(msgspec.Struct):
    task_index: int
    task: str


class _Texts(NamedTuple):
    """What is kept of an episode."""

    levels: Levels | None
    """None without orchestrators."""
    subtasks: list[Segment]
    skills: list[Segment]


class _Sentences(NamedTuple):
    of_episodes: dict[int, str]
    of_tasks: dict[int, str]


class FrameTexts:
    """Gives prompt, subtask text and skill of a frame; opens a file when an episode needs it."""

    def __init__(
        self,
        files: MetadataFiles,
        folder: str,
        *,
        level: int | None,
        subtask_source: SubtaskSource = "orchestrator",
        templates_path: str | Path | None = None,
        names_path: str | Path | None = None,
        joiner: str = " then ",
        skills_by: str | None = None,
        compat: bool = False,
        by_raw_id: bool = False,
    ) -> None:
        """Checks what can be checked without an episode.

        Args:
            files: of an output or a data set.
            folder: where ``annotations/`` and ``orchestrators/`` stand: ``"meta/"`` or ``""``.
            level: orchestrator level of the prompt; None where upstream finds none.
            subtask_source: where subtask texts come from.
            templates_path: JSON of phrase templates, for annotations.
            names_path: JSON of objects' names, for annotations.
            joiner: between the phrases of a primitive of several actions.
            skills_by: what names a frame's skill, of ``skill_weights.GROUPS``; None if nobody asks.
            compat: upstream's rules.
            by_raw_id: the files go by the raw ids of the 2026 edition.

        Raises:
            UserError: annotations are asked for, and they or their tables are missing.
        """
        self._files, self._folder, self._compat = files, folder, compat
        self._level, self._skills_by = level, skills_by
        self._source, self._joiner = subtask_source, joiner
        self._tables = (templates_path, names_path)
        self._by_raw_id = by_raw_id
        self._name_of: Callable[[int, int], str | None] = (
            NamesInMetadata(files) if by_raw_id else name_by_id
        )
        self._cache: OrderedDict[int, _Texts] = OrderedDict()
        self._phrases: Phrases | None = None
        self._sentences: _Sentences | None = None
        if subtask_source not in get_args(SubtaskSource):
            raise UserError(
                f"subtask_source {subtask_source!r}: expected one of {get_args(SubtaskSource)}."
            )
        if subtask_source != "orchestrator":
            self._open_phrases()
        self._needs_annotations = subtask_source != "orchestrator" or skills_by in _SKILL_FIELDS
        if self._needs_annotations and not files.may_have(f"{folder}annotations"):
            raise UserError(
                f"{files.root}/{folder}annotations: no such folder; subtask_source="
                f"{subtask_source!r} and weights by {skills_by} are made of it. predecode copies "
                "the source's: write the output from a data set that has annotations."
            )
        if (level or skills_by == "task_skill") and not files.may_have(f"{folder}orchestrators"):
            _LOG.warning(
                "%s/%sorchestrators: no such folder: at every level the text is the task's "
                "sentence", files.root, folder,
            )  # fmt: skip

    def at(
        self, episode_index: int, task_index: int, frame: int, sentence: str
    ) -> tuple[str, str | None]:
        """Returns prompt and subtask text of a frame; None where the latter is not known.

        Args:
            episode_index: its episode.
            task_index: of the episode.
            frame: of the episode.
            sentence: the task's, for where the metadata have none.

        Raises:
            DataError: a file of the metadata is not what it should be.
            StorageError: a remote storage does not answer as it should.
        """
        texts = self._texts(episode_index, task_index)
        levels = texts.levels or self._default_levels(episode_index, sentence)
        prompt = self._level_text(levels, self._level, frame)
        if prompt is None:
            prompt = self._open_sentences().of_tasks.get(task_index, sentence)
        subtask = self._segment_text(texts.subtasks, frame)
        return prompt, self._level_text(levels, 1, frame) if subtask is None else subtask

    def skill_runs(self, episode_index: int, task_index: int, num_frames: int) -> list[Segment]:
        """Returns the skill of every frame of an episode as runs; ``""`` where there is none.

        Raises:
            As ``at``.
        """
        texts = self._texts(episode_index, task_index)
        if self._skills_by in _SKILL_FIELDS:
            return constant_runs(
                lambda frame: self._segment_text(texts.skills, frame) or "",
                texts.skills,
                num_frames,
            )
        sentence = self._open_sentences().of_tasks.get(task_index, "")
        levels = texts.levels or self._default_levels(episode_index, sentence)
        return constant_runs(
            lambda frame: self._level_text(levels, 1, frame) or "",
            [segment for level in levels for segment in level],
            num_frames,
        )

    def annotated_skills(self, episode_index: int, task_index: int) -> list[Segment]:
        """Returns the annotated skills of an episode as they stand, with gaps and overlaps.

        Empty unless ``skills_by`` is a field of theirs.

        Raises:
            As ``at``.
        """
        return self._texts(episode_index, task_index).skills

    def _level_text(self, levels: Levels, level: int | None, frame: int) -> str | None:
        if level is None or self._level is None:
            return None
        if self._compat:
            return upstream_level_text(levels, level, frame, looked_up_at=self._level)
        return level_text(levels, level, frame)

    def _segment_text(self, segments: list[Segment], frame: int) -> str | None:
        return (upstream_segment_text if self._compat else segment_text)(segments, frame)

    def _default_levels(self, episode_index: int, sentence: str) -> Levels:
        """An episode's own sentence, which may differ from its task's."""
        return levels_of_sentence(self._open_sentences().of_episodes.get(episode_index, sentence))

    def _texts(self, episode_index: int, task_index: int) -> _Texts:
        texts = self._cache.get(episode_index)
        if texts is None:
            texts = self._cache[episode_index] = self._read_texts(episode_index, task_index)
            if len(self._cache) > _CACHED_EPISODES:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(episode_index)
        return texts

    def _read_texts(self, episode_index: int, task_index: int) -> _Texts:
        name = self._name_of(episode_index, task_index)
        if name is None:
            return _Texts(None, [], [])
        levels = read_levels(
            self._files,
            f"{self._folder}orchestrators/{name}",
            with_events=self._level == 3,
            compat=self._compat,
        )
        if levels is not None:
            levels = [_interned(level) for level in levels]
        path = f"{self._folder}annotations/{name}.json"
        if not self._needs_annotations or self._files.read(path) is None:
            return _Texts(levels, [], [])
        annotation = self._files.decoded(path, dict[str, Any])
        return _Texts(levels, self._subtasks(annotation), self._skills(annotation))

    def _subtasks(self, annotation: dict[str, Any]) -> list[Segment]:
        if self._source == "orchestrator":
            return []
        phrases = self._open_phrases()
        by_skill = self._source == "annotations_skill"
        segments = annotated_segments(
            annotation.get("skill_annotation" if by_skill else "primitive_annotation"),
            phrases.of_skill if by_skill else phrases.of_primitive,
            keep_empty=self._compat,
        )
        # To upstream, whose segments hold their end, what ends at n touches what starts at n + 1.
        return _interned(joined_segments(segments, gap=int(self._compat)))

    def _skills(self, annotation: dict[str, Any]) -> list[Segment]:
        if self._skills_by not in _SKILL_FIELDS:
            return []
        return _interned(skill_segments(annotation, self._skills_by, compat=self._compat))

    def _open_sentences(self) -> _Sentences:
        if self._sentences is None:
            episodes = self._files.rows("meta/episodes.jsonl", _EpisodeRow)
            tasks = self._files.rows("meta/tasks.jsonl", _TaskRow)
            if tasks is None or (episodes is None and not self._by_raw_id):
                _LOG.warning(
                    "%s/meta: no episodes.jsonl or tasks.jsonl: sentences are the manifest's",
                    self._files.root,
                )
            self._sentences = _Sentences(
                {
                    row.episode_index: sys.intern(row.tasks[0])
                    for row in episodes or ()
                    if row.tasks
                },
                {row.task_index: row.task for row in tasks or ()},
            )
        return self._sentences

    def _open_phrases(self) -> Phrases:
        if self._phrases is None:
            templates = self._table("subtask_template_path", self._tables[0], _Templates)
            names = self._table("subtask_object_name_mapping_path", self._tables[1], _Names)
            self._phrases = Phrases(templates, names, joiner=self._joiner, compat=self._compat)
        return self._phrases

    def _table(self, argument: str, path: str | Path | None, kind: type[_T]) -> _T:
        if path is None:
            raise UserError(
                f"{argument}: needed with subtask_source={self._source!r}. Name the JSON file that "
                "the trainer's repository has of it."
            )
        try:
            return msgspec.json.decode(Path(path).read_bytes(), type=kind)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UserError(f"{argument} {path}: not such a table: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        """Leaves what was read behind: it is read again where it is needed."""
        return {**self.__dict__, "_cache": OrderedDict(), "_phrases": None, "_sentences": None}


def _interned(segments: Iterable[Segment]) -> list[Segment]:
    """Segments that share their texts: many episodes say the same."""
    return [segment._replace(text=sys.intern(segment.text)) for segment in segments]
