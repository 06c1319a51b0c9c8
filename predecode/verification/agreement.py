"""How far pictures of two decoders agree: sums that parts of a verification add up, and why."""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from predecode.verification.report import EQUAL_PSNR_DB, BackendPair

__all__ = ["Agreement", "Reason"]

_MAX_REASONS = 5
"""Named in a report, the most frequent first."""


class Reason(msgspec.Struct, kw_only=True):
    """Images whose difference was looked into, and what it came down to in the same words."""

    num_images: int = 0
    largest: int = 0
    """What the reason leaves unexplained, in levels: largest difference, and mean of an image."""
    mean: float = 0.0
    num_tried: int = 0
    """Conversions and neighbours tried on an image, at most."""

    def add(self, other: "Reason") -> None:
        """Adds other images."""
        self.num_images += other.num_images
        self.largest = max(self.largest, other.largest)
        self.mean = max(self.mean, other.mean)
        self.num_tried = max(self.num_tried, other.num_tried)


class Agreement(msgspec.Struct, kw_only=True):
    """Two decoders on images of one camera; ``add`` in any order gives the same."""

    num_images: int = 0
    num_equal_images: int = 0
    num_values: int = 0
    """Channel values."""
    num_equal_values: int = 0
    sum_of_differences: int = 0
    largest: int = 0
    worst: tuple[float, str] = (EQUAL_PSNR_DB, "")
    """PSNR in dB and key of the image that agrees least."""
    reasons: dict[str, Reason] = {}

    def add(self, other: "Agreement") -> None:
        """Adds other images."""
        self.num_images += other.num_images
        self.num_equal_images += other.num_equal_images
        self.num_values += other.num_values
        self.num_equal_values += other.num_equal_values
        self.sum_of_differences += other.sum_of_differences
        self.largest = max(self.largest, other.largest)
        self.worst = min((w for w in (self.worst, other.worst) if w[1]), default=self.worst)
        for words, reason in other.reasons.items():
            self.reasons.setdefault(words, Reason()).add(reason)

    def compare(self, left: NDArray[np.uint8], right: NDArray[np.uint8], key: str) -> bool:
        """Adds one image of both decoders; returns whether they are equal.

        Args:
            left: ``(H, W, 3)`` uint8.
            right: the same shape.
            key: the image's sample.
        """
        if np.array_equal(left, right):
            one = Agreement(num_equal_images=1, num_equal_values=left.size)
        else:
            distances = np.abs(left.astype(np.int16) - right)
            square = int(np.square(distances, dtype=np.int32).sum(dtype=np.int64))
            psnr_db = 10 * math.log10(255**2 * left.size / square)
            one = Agreement(
                num_equal_values=left.size - int(np.count_nonzero(distances)),
                sum_of_differences=int(distances.sum(dtype=np.int64)),
                largest=int(distances.max()),
                worst=(min(psnr_db, EQUAL_PSNR_DB), key),
            )
        one.num_images, one.num_values = 1, left.size
        self.add(one)
        return one.num_equal_images == 1

    def figures(self, camera: str, left: str, right: str) -> BackendPair:
        """Returns what the report says."""
        num_values = max(self.num_values, 1)
        return BackendPair(
            camera=camera,
            left=left,
            right=right,
            num_images=self.num_images,
            num_equal_images=self.num_equal_images,
            equal_values=self.num_equal_values / num_values,
            largest=self.largest,
            mean=self.sum_of_differences / num_values,
            psnr_worst_db=self.worst[0],
            why=self._why(),
        )

    def _why(self) -> str:
        """Reasons as one sentence, the most frequent first."""
        total = sum(reason.num_images for reason in self.reasons.values())
        ordered = sorted(self.reasons.items(), key=lambda item: (-item[1].num_images, item[0]))
        clauses = []
        for words, reason in ordered[:_MAX_REASONS]:
            rest = ""
            if reason.largest:
                rest = (
                    f", of {reason.num_tried} conversions and neighbours tried, leaving up to "
                    f"{reason.largest} and {reason.mean:.3f} on average"
                )
            clauses.append(f"{words}{rest} ({reason.num_images} of {total} images looked into)")
        if len(ordered) > _MAX_REASONS:
            clauses.append(f"{len(ordered) - _MAX_REASONS} other reasons")
        return "; ".join(clauses)
