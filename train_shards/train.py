"""``python -m train_shards.train data=shards shards=DIR exp_name=NAME``: the reference trainer.

The story of a run: folder, log, data, statistics, policy, checkpoint, steps. Words are Hydra's
``key=value``; ``--help`` lists them. Under torchrun every rank runs this.
"""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from train_shards.batches import endless_batches, make_sampler, open_dataset
from train_shards.canary import Canary, canary_command
from train_shards.checkpoint import load_newest_checkpoint, open_run_folder, save_checkpoint
from train_shards.errors import EXIT_STATUS, UserError
from train_shards.manifest import load_manifest
from train_shards.norm_stats import corpus_stats
from train_shards.norm_stats_file import FILE_NAME, NormStats, read_norm_stats, write_norm_stats
from train_shards.policy import Batch, Noise, Policy, draw_noise
from train_shards.ranks import Interval, Ranks, StopRequest, joined_ranks
from train_shards.run_scope import check_run
from train_shards.sampling import ResumableSampler
from train_shards.train_config import TrainConfig, config_text, load_config
from train_shards.train_log import (
    Curves,
    SampleLog,
    cut_sample_logs,
    let_go,
    log_path,
    start_log,
)

__all__ = ["main", "train"]

_LOG = logging.getLogger(__name__)
_LOG.addHandler(logging.NullHandler())  # what is refused before there is a log goes to stderr alone
_MAX_GRADIENT_NORM = 1.0


def main(words: Sequence[str]) -> int:
    """Trains as ``words`` say; returns the exit status: 0 done or stopped, 1 data, 2 refused."""
    if set(words) & {"-h", "--help"}:
        print(config_text())
        return 0
    try:
        config = load_config(words)
        with joined_ranks(config.device) as ranks:
            train(config, ranks)
    except tuple(EXIT_STATUS) as error:
        _LOG.exception("stopped")
        print(f"error: {str(error).strip()}", file=sys.stderr)
        let_go(error)
        return EXIT_STATUS[type(error)]
    except KeyboardInterrupt as error:
        let_go(error)
        return 130
    return 0


def train(config: TrainConfig, ranks: Ranks) -> None:
    """Trains until ``num_train_steps``, or until SIGTERM reaches any rank; saves at the end.

    Raises:
        UserError: settings, folder and data do not fit together, or the run is not the one whose
            samples are stored.
        DataError: damaged data, statistics or checkpoint.
    """
    stop = StopRequest()
    dataset = open_dataset(config)
    sampler = make_sampler(config, ranks, dataset)
    given_stats = None if config.norm_stats is None else read_norm_stats(Path(config.norm_stats))
    if not config.resume:
        check_stored(dataset, sampler, config.num_train_steps)  # before there is a folder
    folder, log = config.folder, log_path(config.folder, ranks.rank)
    open_run_folder(folder, ranks, resume=config.resume, overwrite=config.overwrite)
    start_log(log)
    _LOG.info("rank %d of %d on %s, %s", ranks.rank, ranks.world_size, ranks.device, config)

    torch.manual_seed(config.seed)
    stats = stats_of_run(config, ranks, given_stats)
    num_cameras = sum(map(dataset.settings.is_rgb, dataset.cameras))
    policy = Policy(num_cameras, config.action_horizon, stats).to(ranks.device)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=config.learning_rate)
    step = restore(folder, ranks, sampler, policy, optimizer)
    if step >= config.num_train_steps:
        _LOG.info("nothing to do after step %d", step)
        return
    check_stored(dataset, sampler, config.num_train_steps - step)
    model = ranks.wrap(policy)
    samples = SampleLog(folder, ranks.rank) if config.log_samples else None
    is_tracked = config.wandb_enabled and ranks.is_first
    curves = Curves(folder, msgspec.to_builtins(config), is_enabled=is_tracked)
    canary = open_canary(config) if config.canary_every and ranks.is_first else None
    batches = endless_batches(dataset, sampler, config.num_workers, log, ranks.device)
    interval = Interval()
    is_last = is_stopped = False
    while not is_last:
        batch, wait_s = timed_next(batches)
        step += 1
        noise = draw_noise(sampler.seed, step, batch.action, ranks.rank, ranks.world_size)
        loss = descend(model, optimizer, batch, noise)
        sampler.advance(sampler.global_batch_size)
        interval.add(loss, wait_s)
        if samples is not None:
            samples.write(step, batch.sample_index.tolist())
        if canary is not None and step % config.canary_every == 0:
            images = {camera: image[0].cpu().numpy() for camera, image in batch.images.items()}
            canary.submit(step, int(batch.episode_index[0]), int(batch.frame_index[0]), images)
        is_stopped = ranks.any(stop.is_made)
        is_last = is_stopped or step == config.num_train_steps
        if is_last or step % config.log_interval == 0:
            values = interval.values(ranks, sampler.global_batch_size)
            if canary is not None:
                for found in canary.comparisons(wait=is_last):
                    values |= found.values()
            report(step, values, curves, is_first=ranks.is_first)
            interval = Interval()
        if ranks.is_first and (is_last or step % config.save_interval == 0):
            state = {"model": policy.state_dict(), "optimizer": optimizer.state_dict()}
            path = save_checkpoint(folder, step, {**state, "sampler": sampler.state_dict()})
            _LOG.info("saved %s", path)
    curves.close()
    if canary is not None:
        canary.close()
    if samples is not None:
        samples.close()
    ranks.wait()
    _LOG.info("%s after step %d", "stopped by SIGTERM" if is_stopped else "ended", step)


def open_canary(config: TrainConfig) -> Canary:
    """Returns the canary of a run from shards; see ``train_shards.canary``."""
    settings = load_manifest(config.outputs[0]).settings
    command = canary_command(str(config.canary_root), settings, config.canary_python)
    return Canary(settings, command)


def timed_next(batches: Iterator[Batch]) -> tuple[Batch, float]:
    """Returns the next batch and the seconds spent waiting for it."""
    asked_s = time.perf_counter()
    return next(batches), time.perf_counter() - asked_s


def check_stored(dataset: Any, sampler: ResumableSampler, steps: int) -> None:
    """Passes when every sample of so many steps is stored; only outputs of one run lack some.

    Raises:
        UserError: the run goes beyond what was stored; both values are named.
    """
    if (scope := getattr(dataset, "run_scope", None)) is not None:
        check_run(scope, sampler, steps, where=str(dataset.out))


def descend(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, noise: Noise
) -> torch.Tensor:
    """Takes one step of gradient descent; returns the loss before it."""
    optimizer.zero_grad()
    loss: torch.Tensor = model(batch, noise)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(model.parameters(), _MAX_GRADIENT_NORM)
    optimizer.step()
    return loss.detach()


def report(step: int, values: dict[str, float], curves: Curves, *, is_first: bool) -> None:
    """Says where training is: in every rank's log, and once on standard output and in wandb."""
    line = (
        f"step={step} loss={values['loss']:.4f} samples_per_s={values['samples_per_s']:.1f} "
        f"data_wait={values['data_wait']:.3f}"
    )
    _LOG.info("%s", line)
    if is_first:
        print(line, flush=True)
        curves.log(step, values)


def stats_of_run(
    config: TrainConfig, ranks: Ranks, given: dict[str, NormStats] | None
) -> dict[str, NormStats]:
    """Returns the statistics in the run's folder; a new run gets those given, or the shards'.

    Raises:
        UserError: a column that statistics are made of is not there.
        DataError: a damaged table.
    """
    path = config.folder / FILE_NAME
    if ranks.is_first and not path.exists():
        if given is None:
            given, num_frames = corpus_stats(
                config.outputs,
                action_horizon=config.action_horizon,
                tasks=config.tasks,
            )
            _LOG.info("%s: statistics of %d frames", path, num_frames)
        write_norm_stats(config.folder, given)
    ranks.wait()
    return read_norm_stats(path)


def restore(
    folder: Path,
    ranks: Ranks,
    sampler: ResumableSampler,
    policy: Policy,
    optimizer: torch.optim.Optimizer,
) -> int:
    """Goes to the run's newest checkpoint; returns its step, 0 where there is none.

    Raises:
        UserError: the checkpoint is of another model, data set or order.
    """
    state = load_newest_checkpoint(folder)
    step: int = 0 if state is None else state["step"]
    if state is not None:
        sampler.load_state_dict(state["sampler"])
        try:
            policy.load_state_dict(state["model"])
        except RuntimeError as error:
            raise UserError(f"{folder}: step {step} is of another policy: {error}") from error
        optimizer.load_state_dict(state["optimizer"])
        _LOG.info("step %d: epoch %d, %d consumed", step, sampler.epoch, sampler.consumed)
    if ranks.is_first:
        cut_sample_logs(folder, step)
    ranks.wait()
    return step


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
