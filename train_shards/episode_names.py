"""Under which name the files of an episode's texts stand: ``task-TTTT/episode_EEEEEEEE``.

In the 2025 edition the name follows from the episode's id. In 2026 the files go by an older id, and
``meta/episodes`` tells the path of each annotation; orchestrators go by the same name.
"""

from typing import Any

from train_shards.errors import DataError
from train_shards.metadata_files import MetadataFiles
from train_shards.remote_storage import is_url

__all__ = ["NamesInMetadata", "name_by_id"]

_FOLDER = "meta/episodes"
_COLUMNS = ("episode_index", "annotation_path")


def name_by_id(episode_index: int, task_index: int) -> str:  # noqa: ARG001 - as NamesInMetadata
    """Returns the name in the 2025 edition.

    Source: an id holds its task, ``episode_index // 10000``, which names the folder.

    >>> name_by_id(490010, 49)
    'task-0049/episode_00490010'
    """
    return f"task-{episode_index // 10000:04d}/episode_{episode_index:08d}"


class NamesInMetadata:
    """Names as the 2026 edition's ``meta/episodes`` has them; read when first asked for."""

    def __init__(self, files: MetadataFiles) -> None:
        """Takes the files of an output or a data set; opens none."""
        self._files = files
        self._names: dict[int, str | None] = {}
        self._read: set[str] = set()

    def __call__(self, episode_index: int, task_index: int) -> str | None:
        """Returns the name of an episode; None where the metadata name no annotation.

        Raises:
            DataError: the metadata have no such episode, or are not what they should be.
            StorageError: a remote storage does not answer as it should.

        Cost: the first time reads the tables of all episodes; behind a URL, which cannot be listed,
            those of the task.
        """
        if episode_index not in self._names:
            for path in self._paths(task_index):
                self._read_table(path)
        try:
            return self._names[episode_index]
        except KeyError:
            raise DataError(
                f"{self._files.root}/{_FOLDER}: no row of episode {episode_index} of task "
                f"{task_index}; it tells where the episode's annotation stands."
            ) from None

    def _paths(self, task_index: int) -> list[str]:
        if not is_url(self._files.root):
            return self._files.paths(_FOLDER, "*/*.parquet")
        # Source: the published set's chunks are its tasks, of a file each.
        return [f"{_FOLDER}/chunk-{task_index:03d}/file-000.parquet"]

    def _read_table(self, path: str) -> None:
        if path in self._read:
            return
        self._read.add(path)
        for row in self._files.table(path, _COLUMNS) or ():
            self._names[row["episode_index"]] = _name_of(row["annotation_path"])

    def __getstate__(self) -> dict[str, Any]:
        """Leaves what was read behind."""
        return {**self.__dict__, "_names": {}, "_read": set()}


def _name_of(annotation_path: str | None) -> str | None:
    """``annotations/task-0000/episode_00000010.json`` without its first and last part."""
    if not annotation_path:
        return None
    return annotation_path.removeprefix("annotations/").removesuffix(".json")
