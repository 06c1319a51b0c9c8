"""Decoders against each other: the same pictures by each, compared as they are decoded.

Every decoder decodes a video once, in step with the others. Of each video, the first picture on
which two differ is looked into.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from predecode.errors import MediaError
from predecode.page.wording import percent
from predecode.pipeline import planned_table
from predecode.planning import PlannedEpisode
from predecode.source_check import check_unchanged
from predecode.verification.agreement import Agreement, Reason
from predecode.verification.report import Backends, Finding, Fingerprint, StreamFormat
from predecode.video.backends import OpenDecoder, backend_versions, load_backend
from predecode.video.conversions import ColorTags, explain, read_color_tags
from predecode.video.packets import FrameTable
from train_shards.format import format_key

__all__ = [
    "BackendsJob",
    "BackendsVerdict",
    "FormatKey",
    "PairKey",
    "backends_level",
    "compare_backends",
    "fingerprint",
]


class BackendsJob(msgspec.Struct, frozen=True, kw_only=True):
    """Images to decode by several decoders."""

    name: str
    """For messages."""
    root: str
    """The source's folder."""
    episodes: list[tuple[PlannedEpisode, dict[str, list[int]]]]
    """Each with its cameras' frames, ascending."""
    backends: list[str]
    pythons: dict[str, str] = {}
    """Decoder -> interpreter that has it."""

    @property
    def num_frames(self) -> int:
        """Frames of the camera that has most, summed over episodes."""
        return sum(max(map(len, frames.values()), default=0) for _, frames in self.episodes)


class PairKey(NamedTuple):
    """Two decoders on one camera."""

    camera: str
    left: str
    right: str


class FormatKey(NamedTuple):
    """What ``StreamFormat`` says of a camera's videos."""

    camera: str
    codec_name: str
    pix_fmt: str
    color_range: str
    color_matrix: str


class BackendsVerdict(msgspec.Struct, kw_only=True):
    """What one job found; ``add`` in any order gives the same, once sorted."""

    pairs: dict[PairKey, Agreement] = {}
    formats: dict[FormatKey, set[str]] = {}
    """Videos by what they say of themselves."""
    findings: list[Finding] = []

    def add(self, other: "BackendsVerdict") -> None:
        """Adds what another job found."""
        for pair, agreement in other.pairs.items():
            self.pairs.setdefault(pair, Agreement()).add(agreement)
        for key, videos in other.formats.items():
            self.formats.setdefault(key, set()).update(videos)
        self.findings += other.findings


def compare_backends(job: BackendsJob, report: Callable[[int], None]) -> BackendsVerdict:
    """Returns how far the decoders agree; calls ``report(1)`` for each image of each camera.

    Raises:
        UserError: a decoder cannot be loaded on this node.
        InfraError: a video is no longer the one that was planned.

    Cost: each decoder decodes each video; where two differ, once a video ``conversions.explain``.
    """
    opens = {name: load_backend(name, job.pythons) for name in job.backends}
    verdict = BackendsVerdict()
    for planned, frames_of_camera in job.episodes:
        for camera, frames in frames_of_camera.items():
            for left, right in itertools.combinations(job.backends, 2):
                verdict.pairs.setdefault(PairKey(camera, left, right), Agreement())
            if planned.episode.videos[camera].column is not msgspec.UNSET:
                report(len(frames))  # Pillow's, whatever decodes the videos
            elif frames:
                _Video(Path(job.root), planned, camera, verdict).compare(opens, frames, report)
    return verdict


def backends_level(
    names: Sequence[str], pythons: Mapping[str, str], verdicts: Iterable[BackendsVerdict]
) -> tuple[Backends, list[Finding]]:
    """Returns the report's part on decoders, and what is at fault.

    Args:
        names: decoders, in the order of the jobs.
        pythons: decoder -> interpreter that has it.
        verdicts: of all jobs.

    Raises:
        UserError: a decoder cannot be loaded here; its versions are those of this machine.
    """
    total = BackendsVerdict()
    for verdict in verdicts:
        total.add(verdict)
    # Cameras in order, the pairs of one as ``names`` has them.
    keys = sorted(total.pairs, key=lambda p: (p.camera, names.index(p.left), names.index(p.right)))
    pairs = [total.pairs[key].figures(*key) for key in keys]
    findings = sorted(total.findings, key=lambda f: (f.where, f.key, f.got))
    findings += [
        Finding(
            level="backends",
            kind="backends-differ",
            where=pair.camera,
            key=total.pairs[key].worst[1],
            expected=f"{pair.left} and {pair.right} agree",
            got=(
                f"{pair.num_equal_images:,} of {pair.num_images:,} images equal, "
                f"{percent(pair.equal_values)} of the values, difference at most {pair.largest}, "
                f"{pair.mean:.3f} on average: {pair.why}"
            ),
        )
        for key, pair in zip(keys, pairs, strict=True)
        if pair.num_equal_images < pair.num_images
    ]
    level = Backends(
        names=list(names),
        pairs=pairs,
        fingerprints=[fingerprint(name, pythons) for name in names],
        formats=[
            StreamFormat(**key._asdict(), num_videos=len(videos))
            for key, videos in sorted(total.formats.items())
        ],
    )
    return level, findings


def fingerprint(backend: str, pythons: Mapping[str, str]) -> Fingerprint:
    """Returns what decodes in a backend on this machine.

    Raises:
        UserError: it cannot be loaded.
    """
    versions, conversion = backend_versions(backend, pythons)
    return Fingerprint(backend=backend, versions=versions, conversion=conversion)


class _Video:
    """One camera of one episode under comparison."""

    def __init__(
        self, root: Path, planned: PlannedEpisode, camera: str, verdict: BackendsVerdict
    ) -> None:
        self._root, self._planned, self._camera = root, planned, camera
        self._verdict = verdict
        self._span = planned.episode.videos[camera]
        self._path = root / self._span.path
        self._looked_into: set[PairKey] = set()

    def compare(
        self, opens: Mapping[str, OpenDecoder], frames: list[int], report: Callable[[int], None]
    ) -> None:
        """Decodes the frames by all decoders and adds to the verdict."""
        try:
            table = planned_table(self._root, self._planned, self._camera)
            tags = read_color_tags(self._path, table.stream_index)
        except MediaError as error:
            self._found("video", frames[0], "a video", error)
            report(len(frames))
            return
        about = FormatKey(self._camera, table.codec_name, table.pix_fmt, *tags)
        self._verdict.formats.setdefault(about, set()).add(self._span.path)
        for frame, pictures in self._in_step(opens, table, frames):
            differing = []
            for left, right in itertools.combinations(pictures, 2):
                pair = PairKey(self._camera, left, right)
                key = self._key(frame)
                is_equal = self._verdict.pairs[pair].compare(pictures[left], pictures[right], key)
                if not is_equal and pair not in self._looked_into:
                    differing.append(pair)
            if differing:
                self._look_into(differing, pictures, table, tags, frame)
            report(1)

    def _in_step(
        self, opens: Mapping[str, OpenDecoder], table: FrameTable, frames: list[int]
    ) -> Iterator[tuple[int, dict[str, NDArray[np.uint8]]]]:
        """Yields each frame with the picture of every decoder that has not failed so far."""
        ranks = [self._span.start + frame for frame in frames]
        iterations: dict[str, Iterator[tuple[int, NDArray[np.uint8]]]] = {}
        with ExitStack() as files:
            for name, open_decoder in opens.items():
                try:
                    decoder = files.enter_context(open_decoder(self._path, table))
                    iterations[name] = decoder.pictures(ranks)
                except MediaError as error:
                    self._backend_fails(name, frames[0], error)
            for frame in frames:
                pictures = {}
                for name in list(iterations):
                    try:
                        _, pictures[name] = next(iterations[name])
                    except MediaError as error:
                        self._backend_fails(name, frame, error)
                        del iterations[name]
                yield frame, pictures

    def _look_into(
        self,
        pairs: list[PairKey],
        pictures: Mapping[str, NDArray[np.uint8]],
        table: FrameTable,
        tags: ColorTags,
        frame: int,
    ) -> None:
        """Adds why the pairs differ on one image, which no other image of this video repeats."""
        self._looked_into.update(pairs)
        names = {name for pair in pairs for name in (pair.left, pair.right)}
        asked = {name: pictures[name] for name in sorted(names)}
        try:
            found = explain(asked, self._path, table, tags, self._span.start + frame)
        except MediaError as error:
            for pair in pairs:
                self._reason(pair, f"not looked into: PyAV fails: {error}", Reason(num_images=1))
            return
        for pair in pairs:
            sides = [(name, found[name]) for name in (pair.left, pair.right)]
            words = [e.words(name, tags) for name, e in sides if not e.is_pyavs]
            reason = Reason(
                num_images=1,
                largest=max(e.largest for _, e in sides),
                mean=max(e.mean for _, e in sides),
                num_tried=max(e.num_tried for _, e in sides),
            )
            self._reason(pair, ", and ".join(words), reason)

    def _reason(self, pair: PairKey, words: str, reason: Reason) -> None:
        self._verdict.pairs[pair].add(Agreement(reasons={words: reason}))

    def _backend_fails(self, name: str, frame: int, error: MediaError) -> None:
        self._found("backend-fails", frame, f"a picture of {name}", error)

    def _found(self, kind: str, frame: int, expected: str, error: MediaError) -> None:
        # A vanished file is no fault of a decoder.
        check_unchanged(self._root, self._planned.video_input(self._camera))
        self._verdict.findings.append(
            Finding(
                level="backends",
                kind=kind,
                where=self._span.path,
                key=self._key(frame),
                expected=expected,
                got=str(error),
            )
        )

    def _key(self, frame: int) -> str:
        return format_key(self._planned.episode.episode_index, frame)
