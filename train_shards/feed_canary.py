"""The canary of a launched run: samples of the passes of rank 0, compared with their videos."""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from train_shards.canary import Canary, canary_command
from train_shards.manifest import load_manifest
from train_shards.sampling import ResumableSampler

__all__ = ["FeedCanary"]


@dataclass
class FeedCanary:
    """Reads the first sample of every ``every_batches``-th batch once more and has it compared."""

    canary: Canary
    served: Any
    """The data set that feeds the run; its items have ``episode_index``, ``index`` and images."""
    every_batches: int
    step: int
    """Batches that the run was given so far, those before a resume included."""
    image_of: dict[str, str]
    """Key of a picture in items, ours or the source's own -> the stored image."""

    @classmethod
    def start(
        cls,
        served: Any,
        shards: str,
        command_words: tuple[str, str | None],
        every_batches: int,
        step: int,
    ) -> "FeedCanary":
        """Starts the decoder's process; see ``train_shards.canary``."""
        settings = load_manifest(shards).settings
        root, python = command_words
        canary = Canary(settings, canary_command(root, settings, python))
        pictures = [image for image in settings.cameras if settings.is_rgb(image)]
        image_of = {settings.item_key(image): image for image in pictures}
        image_of |= {settings.cameras[image]: image for image in pictures}
        return cls(canary, served, every_batches, step, image_of)

    def watch(self, batch: int, sampler: ResumableSampler, place: tuple[int, int]) -> None:
        """Looks at a batch that the trainer is given now.

        Args:
            batch: its number in the pass, 0-based.
            sampler: of the pass.
            place: ``(epoch, consumed)`` where the pass began.
        """
        self._report(wait=False)
        if self.step % self.every_batches == 0:
            epoch, consumed = place
            turn = np.array([batch * sampler.batch_size])
            item = self.served[sampler.sample(epoch, int(sampler.positions(consumed, turn)[0]))]
            images = {
                self.image_of[key]: np.asarray(image)
                for key, image in item.items()
                if key in self.image_of
            }
            ids = int(item["episode_index"]), int(item["index"])
            self.canary.submit(self.step, *ids, images)
        self.step += 1

    def close(self) -> None:
        """Reports the last comparison and ends the decoder's process."""
        self._report(wait=True)
        self.canary.close()

    def _report(self, *, wait: bool) -> None:
        run = getattr(sys.modules.get("wandb"), "run", None)
        for found in self.canary.comparisons(wait=wait):
            if run is not None:
                # Beside the trainer's own values: a step of ours could be one that it is past.
                run.log(found.values(), commit=False)
