"""How the survey of a data set words and bounds its findings."""

from collections import Counter
from collections.abc import Iterable
from functools import partial

from predecode.errors import EpisodeFault
from predecode.source_check import EMPTY_FILE, NO_FILE
from predecode.sources.episode import Episode
from predecode.verification.report import Finding

__all__ = ["bounded", "counted", "episode_key", "fault_finding", "folded_remarks", "noting"]

MOST_FINDINGS = 20
"""Of one episode, and remarks of one kind of the whole set."""


def episode_key(episode_index: int) -> str:
    """Returns how a finding names an episode.

    >>> episode_key(490010)
    'ep00490010'
    """
    return f"ep{episode_index:08d}"


def noting(where: str, episode: Episode | None = None) -> "partial[Finding]":
    """Returns what makes findings of one file: ``noting(...)(kind=…, expected=…, got=…)``."""
    key = "" if episode is None else episode_key(episode.episode_index)
    return partial(Finding, where=where, key=key, level="source")


def fault_finding(kind: str, fault: EpisodeFault) -> Finding:
    """Returns the finding of an episode's fault; a file that is not there or empty says so."""
    kinds = {NO_FILE: "missing-file", EMPTY_FILE: "empty-file"}
    return Finding(
        kind=kinds.get(fault.problem, kind),
        where=fault.path,
        key=episode_key(fault.episode_index),
        expected=fault.expected,
        got=fault.got if fault.problem in kinds else f"{fault.got} ({fault.problem})",
        level="source",
    )


def counted(number: int, word: str) -> str:
    """Returns a number with its word.

    >>> counted(1, "gap"), counted(3, "gap")
    ('1 gap', '3 gaps')
    """
    return f"{number} {word}" + ("" if number == 1 else "s")


def bounded(findings: list[Finding]) -> list[Finding]:
    """Returns an episode's findings, faults first; beyond twenty, one tells how many more."""
    ordered = sorted(findings, key=lambda finding: not finding.is_fault)
    kept, rest = ordered[:MOST_FINDINGS], ordered[MOST_FINDINGS:]
    return [*kept, _more(rest, "an episode")] if rest else kept


def folded_remarks(findings: Iterable[Finding]) -> list[Finding]:
    """Returns all faults, then the first twenty remarks of each kind and how many more.

    Published sets have a remark for nearly every episode: 10,000 lines would hide the faults.
    """
    faults: list[Finding] = []
    remarks: list[Finding] = []
    rest: dict[str, list[Finding]] = {}
    seen: Counter[str] = Counter()
    for finding in findings:
        seen[finding.kind] += not finding.is_fault
        if finding.is_fault:
            faults.append(finding)
        elif seen[finding.kind] <= MOST_FINDINGS:
            remarks.append(finding)
        else:
            rest.setdefault(finding.kind, []).append(finding)
    return [*faults, *remarks, *(_more(found, "a kind") for found in rest.values())]


def _more(rest: list[Finding], of: str) -> Finding:
    kinds = Counter(finding.kind for finding in rest)
    return Finding(
        kind="more",
        where=rest[0].where,
        key=rest[0].key,
        expected=f"{MOST_FINDINGS} findings of {of} at most",
        got=f"{len(rest)} more: " + ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())),
        level="source",
        is_fault=any(finding.is_fault for finding in rest),
    )
