"""A whole output in figures, from its manifest and indexes."""

from predecode.inspection.found import EpisodeRow, OutputFound, SplitFigures, TaskFigures
from predecode.inspection.opened import OpenOutput

__all__ = ["inspect_output"]


def inspect_output(output: OpenOutput) -> OutputFound:
    """Returns what is in an output.

    An episode counts for its own task, also where its rows name others.

    Raises:
        DataError: the list of quarantined episodes is damaged.

    Cost: in proportion to the episodes; opens no shard.
    """
    manifest = output.manifest
    names = {number: name for name, number in manifest.task_names.items()}
    splits = {
        split: SplitFigures() for generation in manifest.generations for split in generation.indexes
    }
    tasks = {
        number: TaskFigures(task_index=number, name=names.get(number, ""), task=task)
        for number, task in manifest.tasks.items()
    }
    for shard in (shard for generation in manifest.generations for shard in generation.shards):
        figures = splits[shard.split]
        figures.num_shards += 1
        figures.num_shard_bytes += shard.num_bytes
    for episode in output.episodes.values():
        number, num_samples = episode.span.task_index, episode.num_samples
        unknown = TaskFigures(task_index=number, name="", task="")
        for own in (splits[episode.split], tasks.setdefault(number, unknown)):
            own.num_episodes += 1
            own.num_samples += num_samples
    return OutputFound(
        out=output.name,
        manifest=manifest,
        splits=splits,
        tasks=[tasks[number] for number in sorted(tasks)],
        episodes=[
            EpisodeRow(
                episode_index=number,
                task_index=episode.span.task_index,
                split=episode.split,
                num_samples=episode.num_samples,
            )
            for number, episode in output.episodes.items()
        ],
        quarantined=output.quarantined(),
    )
