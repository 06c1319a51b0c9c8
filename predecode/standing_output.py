"""What stands in ``--out`` already: other things, other settings, more episodes; or it is wiped."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from predecode.config import settings_difference
from predecode.errors import UserError
from predecode.for_run import AskedRun
from predecode.manifest import WIDS_KIND
from predecode.planning import Plan
from predecode.sources.episode import Episode
from train_shards.format import MANIFEST_PATH
from train_shards.manifest import Settings

__all__ = [
    "known_episodes",
    "listed_ids",
    "refuse_other_run",
    "refuse_other_settings",
    "refuse_shrinking",
    "refuse_strangers",
    "wipe",
]


def known_episodes(plans: list[Plan]) -> set[int]:
    """Returns the ``episode_index`` of all that plans hold or that their source check refused."""
    return {episode.episode_index for plan in plans for episode in plan.all_episodes}


def refuse_strangers(out: Path) -> None:
    """Passes when ``out`` is not there, or nothing stands in it but what a run leaves first.

    Raises:
        UserError: something does.
    """
    stray = [p.name for p in out.iterdir() if p.name != ".predecode"] if out.is_dir() else []
    if stray:
        raise UserError(
            f"--out {out}: not empty and not an output of predecode ({', '.join(stray[:3])}). "
            "Choose an empty or new folder."
        )


def refuse_other_settings(out: Path | str, plans: list[Plan], settings: Settings) -> None:
    """Passes when an output has these settings.

    Raises:
        UserError: it has others.
    """
    differences = settings_difference(plans[0].settings, settings)
    if differences:
        raise UserError(
            f"--out {out}: made with other settings: {'; '.join(differences)}. "
            "Use the same settings, another --out, or --overwrite to start anew."
        )


def refuse_other_run(
    out: Path | str, plans: list[Plan], asked: AskedRun | None, new: Sequence[Episode]
) -> None:
    """Passes when an output holds one run's samples and one is asked for, of the same episodes.

    Raises:
        UserError: it holds every sample, or every sample is asked for, or there are new episodes:
            the run would draw from others.
    """
    scope = plans[-1].run_scope
    if not scope or asked is None:
        held, wanted = (f"--for-run {run}" if run else "every sample" for run in (scope, asked))
        raise UserError(
            f"--out {out}: made for {held}, asked for {wanted}. Use another --out, or --overwrite "
            "to start anew."
        )
    if new:
        ids = listed_ids([episode.episode_index for episode in new])
        raise UserError(
            f"--out {out}: the run {scope} draws from {scope.num_samples} samples of its episodes; "
            f"{len(new)} more are selected ({ids}), with which it would see others. Leave them out "
            "with --tasks and --episodes, use another --out, or --overwrite to start anew."
        )


def refuse_shrinking(out: Path | str, held: set[int], selected: Sequence[Episode]) -> None:
    """Passes when every episode that an output holds, by ``episode_index``, is selected.

    Raises:
        UserError: one is not.
    """
    missing = sorted(held - {e.episode_index for e in selected})
    if missing:
        raise UserError(
            f"--out {out}: holds {len(missing)} episodes that were not asked for now "
            f"({listed_ids(missing)}); a selection may only grow. Ask for them too, take them out "
            "with 'predecode drop', use another --out, or --overwrite to start anew."
        )


def wipe(out: Path) -> None:
    """Removes an earlier output, the manifest first, so that no reader takes it for whole.

    Needs no readable plan. Only what predecode itself writes is touched, and only where an output
    is; other files make the start refuse, as always.
    """
    state = out / ".predecode"
    is_output = any(not path.name.startswith("lock") for path in state.iterdir())
    (out / MANIFEST_PATH).unlink(missing_ok=True)
    if not is_output:
        return
    for path in (out / "README.md", *out.glob("*.json")):
        if path.name == "README.md" or WIDS_KIND in path.read_text():
            path.unlink(missing_ok=True)
    for folder in ("data", "lowdim", "meta"):
        shutil.rmtree(out / folder, ignore_errors=True)
    for path in state.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


def listed_ids(ids: list[int]) -> str:
    """Returns ids as messages list them: ten at most, and how many there are."""
    shown = ", ".join(f"{episode_index:08d}" for episode_index in ids[:10])
    return shown if len(ids) <= 10 else f"{shown}, … ({len(ids)} in all)"
