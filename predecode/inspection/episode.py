"""One episode: its rows, shards and stored frames, bytes, annotation and inputs."""

import numpy as np

from predecode.inspection.found import EpisodeFound, EpisodeInShard, ImageBytes, Skill
from predecode.inspection.opened import OpenOutput
from predecode.inspection.texts import OutputTexts

__all__ = ["inspect_episode"]


def inspect_episode(output: OpenOutput, episode_index: int) -> EpisodeFound:
    """Returns what is in an episode.

    Raises:
        UserError: no such episode.
        DataError: the index, a table, the plan or the metadata are damaged.

    Cost: a small pread a stored frame, the episode's table and the plan; opens no shard.
    """
    episode = output.episode(episode_index, "--episode")
    reader, frames = output.reader(episode), output.frames(episode)
    places = [output.place(episode, frame) for frame in frames]
    first = places[0]
    plan, planned = output.planned(episode)
    entry = reader.generation(first)
    num_bytes = np.array([[length for _, length in place.members] for place in places])
    shards: dict[str, EpisodeInShard] = {}
    for place, own in zip(places, num_bytes.sum(axis=1).tolist(), strict=True):
        path = reader.shard(place).path
        shard = shards.setdefault(path, EpisodeInShard(shard=path))
        shard.num_samples += 1
        shard.num_bytes += own
    texts, columns = OutputTexts(output), reader.columns(first)
    said = texts.at(episode, frames[0], columns)
    return EpisodeFound(
        out=output.name,
        episode_index=episode_index,
        split=episode.split,
        generation=entry.generation,
        task_index=said.task_index,
        task=said.task,
        prompt=said.prompt,
        num_frames=first.num_frames,
        num_samples=len(frames),
        first_frame=frames[0],
        last_frame=frames[-1],
        stride=episode.span.stride,
        shards=[shards[path] for path in sorted(shards)],
        members=[
            ImageBytes(
                field=field,
                total=int(own.sum()),
                mean=float(own.mean()),
                least=int(own.min()),
                most=int(own.max()),
            )
            for field, own in zip(reader.fields, num_bytes.T, strict=True)
        ],
        skills=[Skill(start=s.start, stop=s.stop, skill=s.text) for s in texts.skills(episode)],
        lowdim=entry.lowdim[first.lowdim_table].path,
        lowdim_batch=first.lowdim_batch,
        columns={name: _row_type(column) for name, column in columns.items()},
        root=plan.root,
        inputs=[
            (
                given.path + (f":{given.column}" if given.column else ""),
                given.num_bytes,
                given.digest,
            )
            for given in planned.inputs
        ],
    )


def _row_type(column: object) -> str:
    """Type and shape of one row of a column."""
    if not isinstance(column, np.ndarray):
        return str(getattr(column, "type", type(column).__name__))
    shape = ", ".join(map(str, column.shape[1:]))
    return f"{column.dtype.name}({shape})" if shape else column.dtype.name
