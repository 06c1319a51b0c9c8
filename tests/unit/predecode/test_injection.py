"""The variable that injects faults: understood or refused, and silent when unset."""

import os
from pathlib import Path

import pytest

from predecode import injection
from predecode.errors import UserError
from predecode.injection import Fault, is_change, parse_fault, reach


def test_a_fault_is_parsed() -> None:
    fault = parse_fault("hang:episode=490010,camera=head,once=/tmp/x,reached=3")
    conditions = {"episode": "490010", "camera": "head"}
    assert fault == Fault("hang", conditions, Path("/tmp/x"), 3)


@pytest.mark.parametrize(
    "text",
    ["segv ", "explode:frame=1", "segv:frame", "", ":", "segv:frame=", "kill:", "segv:reached=x"],
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"PREDECODE_FAULT=.*: expected <kind>:<name>=<value>"):
        parse_fault(text)


@pytest.mark.parametrize(
    ("place", "happens"),
    [
        ({"episode": 7, "frame": 3, "camera": "head"}, True),
        ({"episode": 7, "frame": 4, "camera": "head"}, False),
        ({"episode": 7}, False),
        ({}, False),
    ],
    ids=["all", "another frame", "too little", "nothing"],
)
def test_it_happens_where_every_condition_agrees(
    monkeypatch: pytest.MonkeyPatch, place: dict[str, object], happens: bool
) -> None:
    happened: list[str] = []
    monkeypatch.setattr(injection, "_fault", lambda: parse_fault("segv:episode=7,frame=3"))
    monkeypatch.setattr(injection, "_happen", happened.append)
    monkeypatch.setattr(injection, "_count", [])
    reach(**place)
    assert bool(happened) is happens


def test_it_happens_at_the_place_counted_and_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    happened: list[str] = []
    fault = parse_fault(f"abort:episode=7,reached=2,once={tmp_path / 'once'}")
    monkeypatch.setattr(injection, "_fault", lambda: fault)
    monkeypatch.setattr(injection, "_happen", happened.append)
    for count in (1, 2, 3, 4):
        monkeypatch.setattr(injection, "_count", [0] * (count - 1))
        reach(episode=7)
    assert happened == ["abort"]
    monkeypatch.setattr(injection, "_count", [0])
    reach(episode=7)
    assert happened == ["abort"]


@pytest.mark.parametrize(
    ("event", "arguments", "expected"),
    [
        ("os.rename", ("a", "b", -1, -1), True),
        ("open", ("a", "w", os.O_WRONLY | os.O_CREAT), True),
        ("open", ("a", "r", os.O_RDONLY), False),
        ("open", ("a", "r", None), False),
        ("import", (), False),
    ],
)
def test_changes_to_the_file_system_are_told_from_the_rest(
    event: str, arguments: tuple[object, ...], expected: bool
) -> None:
    assert is_change(event, arguments) is expected
