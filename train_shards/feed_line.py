"""The line that says what feeds a run, and where a later step lies in the order.

A run appends it to ``predecode_feed.txt`` each time that it starts. From these lines a resumed run
computes its place even where an earlier part was trained with another global batch.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from train_shards.errors import UserError

__all__ = ["FEED_FILE", "FeedLine"]

FEED_FILE = "predecode_feed.txt"
_START = "predecode: "


@dataclass(frozen=True, kw_only=True)
class FeedLine:
    """One start of a run: what it samples from, in which order, from where."""

    data: str
    """``shards`` or ``online``."""
    source: str
    """The output of predecode, or the root of the data set."""
    backend: str = ""
    """Decoder, with ``online``."""
    manifest: str
    """First 12 digits of the digest of what is sampled from."""
    samples: int
    order: str
    """Kind and parameters; says nothing of the seed."""
    seed: int
    tail: Literal["drop", "pad"]
    batch: int
    """Samples in a step of all ranks."""
    step: int
    """Steps trained before this start."""
    epoch: int
    consumed: int
    """Samples of ``epoch`` that were trained on before this start."""
    run: str = ""
    """Where one run's samples alone are stored, that run as ``--for-run`` takes it."""

    def text(self, *, rank: int, world_size: int) -> str:
        """Returns the line, with what this process adds to it."""
        where = {"shards": self.source} if self.data == "shards" else {"root": self.source}
        words = {
            "data": self.data, **where, "backend": self.backend, "manifest": self.manifest,
            "samples": self.samples, "order": self.order, "seed": self.seed,
            "sampler": "ResumableSampler", "rank": f"{rank}/{world_size}", "epoch": self.epoch,
            "consumed": self.consumed, "step": self.step, "batch": self.batch, "tail": self.tail,
            "run": self.run,
        }  # fmt: skip
        return _START + " ".join(
            f"{key}={shlex.quote(str(word))}" for key, word in words.items() if word != ""
        )

    @classmethod
    def parse(cls, text: str, *, where: str) -> Self:
        """Returns the line that ``text`` was made from.

        Raises:
            UserError: a word is missing or is not what it should be.
        """
        try:
            words = dict(word.split("=", 1) for word in shlex.split(text.removeprefix(_START)))
            numbers = ("samples", "seed", "batch", "step", "epoch", "consumed")
            if words["tail"] not in ("drop", "pad"):
                raise ValueError(words["tail"])
            return cls(
                data=words["data"], source=words.get("shards", words.get("root", "")),
                backend=words.get("backend", ""), run=words.get("run", ""),
                manifest=words["manifest"], order=words["order"],
                tail="pad" if words["tail"] == "pad" else "drop",
                **{name: int(words[name]) for name in numbers},
            )  # fmt: skip
        except (ValueError, KeyError) as error:
            raise UserError(
                f"{where}: not a line that says what fed the run ({error}): {text!r}. Remove it."
            ) from error

    def steps_of(self, num_samples: int) -> int:
        """Returns the number of steps that ``num_samples`` make."""
        return num_samples // self.batch if self.tail == "drop" else -(-num_samples // self.batch)

    def place(self, step: int) -> tuple[int, int]:
        """Returns ``(epoch, consumed)`` after ``step`` steps in all, from this start on.

        >>> line = FeedLine(data="shards", source="", manifest="", samples=10, order="", seed=0,
        ...     tail="drop", batch=4, step=7, epoch=1, consumed=2)
        >>> [line.place(step) for step in (7, 8, 9, 10, 11)]
        [(1, 2), (1, 6), (2, 0), (2, 4), (3, 0)]
        """
        steps, left = step - self.step, self.steps_of(self.samples - self.consumed)
        if steps < left:
            return self.epoch, self.consumed + steps * self.batch
        epochs, rest = divmod(steps - left, self.steps_of(self.samples))
        return self.epoch + 1 + epochs, rest * self.batch

    def check_same(self, other: "FeedLine", *, where: str) -> None:
        """Refuses to go on from ``other``, an earlier start, with another epoch's worth of data.

        Raises:
            UserError: other data, order or seed; both values are named.
        """
        for field in ("manifest", "samples", "order", "seed", "tail"):
            own, earlier = getattr(self, field), getattr(other, field)
            if own != earlier:
                raise UserError(
                    f"{where}: {field} {earlier!r} at step {other.step}, this run has {own!r}. The "
                    "rest of the epoch would be another: resume with the data and words of the "
                    "earlier run, or move the file away to take this run's order from here on."
                )


def last_before(path: Path, step: int) -> FeedLine | None:
    """Returns the last start in ``path`` at or before ``step``; None if there is none.

    The last one counts: a run that was resumed from an earlier checkpoint supersedes what followed.
    """
    try:
        # A line that lacks its end is being written, or was when the machine stopped.
        lines = path.read_text().split("\n")[:-1]
    except FileNotFoundError:
        return None
    parsed = [FeedLine.parse(line, where=str(path)) for line in lines if line.startswith(_START)]
    return next((line for line in reversed(parsed) if line.step <= step), None)
