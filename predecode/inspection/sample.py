"""One sample: where it lies, what its members are, what was said and measured, where it is from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from predecode.errors import InfraError, MediaError
from predecode.inspection.found import Column, Image, Instance, Member, SampleFound, SourceImage
from predecode.inspection.opened import OpenOutput, StoredEpisode
from predecode.inspection.texts import OutputTexts
from predecode.pipeline import planned_table
from predecode.planning import Plan, PlannedEpisode
from predecode.video.backends import STORING_BACKEND
from train_shards.errors import DataError
from train_shards.images import StoredImage, decode_stored, shown
from train_shards.instances import Instances, instances_path
from train_shards.lowdim import row_value
from train_shards.reader import Place

__all__ = ["InspectedSample", "decoded_images", "inspect_sample"]

_MOST_VALUES = 8
_MOST_LETTERS = 200


class InspectedSample(NamedTuple):
    """A sample and its images."""

    found: SampleFound
    images: dict[str, StoredImage]
    """As items show them; see ``shown``."""


def inspect_sample(output: OpenOutput, key: str) -> InspectedSample:
    """Returns what is in a sample.

    Raises:
        UserError: no such key.
        DataError: a member, the ledger, a table, the plan or the metadata are damaged.

    Cost: reads the sample, its shard's ledger, the plan, and headers of the source where it stands.
    """
    episode, place = output.sample(key)
    reader, settings = output.reader(episode), output.settings
    plan, planned = output.planned(episode)
    entry, shard = reader.generation(place), reader.shard(place)
    (contents,) = reader.read([place], reader.fields)
    row = reader.ledger_row(place)
    columns = reader.columns(place)
    images = decoded_images(output, episode, place, dict(zip(reader.fields, contents, strict=True)))
    names = _instance_names(output, place.episode_index)
    said = OutputTexts(output).at(episode, place.frame_index, columns)
    found = SampleFound(
        out=output.name,
        key=place.key,
        episode_index=place.episode_index,
        frame_index=place.frame_index,
        num_frames=place.num_frames,
        split=episode.split,
        generation=entry.generation,
        shard=shard.path,
        shard_sha256=shard.sha256,
        offset_bytes=place.offset_bytes,
        num_bytes=sum(map(len, contents)),
        members=[
            Member(
                field=field,
                offset_bytes=place.offset_bytes + start,
                num_bytes=num_bytes,
                xxh3=f"{int(row['member_xxh3'][number]):016x}",
            )
            for number, (field, (start, num_bytes)) in enumerate(
                zip(reader.fields, place.members, strict=True)
            )
        ],
        images=[
            _image(name, settings.modality_of(name), image, int(pixel_xxh3), names)
            for (name, image), pixel_xxh3 in zip(images.items(), row["pixel_xxh3"], strict=True)
        ],
        lowdim=entry.lowdim[place.lowdim_table].path,
        lowdim_batch=place.lowdim_batch,
        columns=[
            _column(name, row_value(column, place.frame_index)) for name, column in columns.items()
        ],
        **said._asdict(),
        root=plan.root,
        sources=[_source(plan, planned, name, place.frame_index) for name in settings.camera_names],
        decoder=entry.backend or STORING_BACKEND,
        environment=entry.environment,
        plan_digest=entry.plan_digest,
    )
    return InspectedSample(found, images)


def decoded_images(
    output: OpenOutput, episode: StoredEpisode, place: Place, members: Mapping[str, memoryview]
) -> dict[str, StoredImage]:
    """Returns images as items show them, sorted by name.

    Args:
        output: that holds them.
        episode: of the sample.
        place: of the sample.
        members: field -> content; of images that are left out here nothing is returned.

    Raises:
        DataError: the bytes are no such image; shard, key, member and offset are named.
    """
    settings, reader = output.settings, output.reader(episode)
    images = {}
    for name in settings.camera_names:
        field = settings.field_of(name)
        if field not in members:
            continue
        try:
            image = decode_stored(members[field], settings, name, settings.picture_size)
            images[name] = shown(image, settings, name)
        except DataError as error:
            start, num_bytes = place.members[reader.fields.index(field)]
            raise DataError(
                f"{reader.where(place)}, member {field} ({num_bytes} bytes at "
                f"{place.offset_bytes + start}): {error}"
            ) from error
    return images


def _image(
    name: str, modality: str, image: StoredImage, pixel_xxh3: int, names: Mapping[int, str]
) -> Image:
    height, width = image.shape[:2]
    instances: list[Instance] = []
    if modality == "seg_instance_id":
        ids, counts = np.unique(image, return_counts=True)
        instances = [
            Instance(id=number, name=names.get(number, ""), num_pixels=count)
            for count, number in sorted(
                zip(counts.tolist(), ids.tolist(), strict=True),
                key=lambda pair: (-pair[0], pair[1]),
            )
        ]
    return Image(
        name=name,
        modality=modality,
        width=width,
        height=height,
        pixel_xxh3=f"{pixel_xxh3:016x}",
        range_m=(float(image.min()), float(image.max())) if modality == "depth" else None,
        instances=instances,
    )


def _instance_names(output: OpenOutput, episode_index: int) -> Mapping[int, str]:
    """What the ids of an episode are called, as far as the output has that."""
    path = instances_path(episode_index)
    if "seg_instance_id" not in output.settings.modalities.values():
        return {}
    return {} if output.files.read(path) is None else output.files.decoded(path, Instances).names


def _column(name: str, value: Any) -> Column:
    if not isinstance(value, np.ndarray | np.generic):
        text = str(value)[:_MOST_LETTERS]
        return Column(name=name, type=type(value).__name__, shape=[], values=[text])
    array = np.asarray(value)
    is_array = array.ndim > 0 and array.size > 0
    return Column(
        name=name,
        type=array.dtype.name,
        shape=list(array.shape),
        values=array.reshape(-1)[:_MOST_VALUES].tolist(),
        low=float(array.min()) if is_array else None,
        high=float(array.max()) if is_array else None,
    )


def _source(plan: Plan, planned: PlannedEpisode, image: str, frame: int) -> SourceImage:
    """The picture that an image was made of, with its pts where the source is as it was planned."""
    span, given = planned.episode.videos[image], planned.video_input(image)
    rank = span.start + frame
    pts, time_base, note = None, None, ""
    try:
        table = planned_table(Path(plan.root), planned, image)
        pts, time_base = int(table.pts[rank]), str(table.time_base)
    except (InfraError, MediaError, OSError) as error:
        note = str(error)
    return SourceImage(
        image=image,
        key=span.key,
        path=span.path,
        column=None if span.column is msgspec.UNSET else span.column,
        rank=rank,
        pts=pts,
        time_base=time_base,
        num_bytes=given.num_bytes,
        digest=given.digest,
        note=note,
    )
