"""How many findings are told, and in which order."""

from predecode.survey.findings import bounded, folded_remarks
from predecode.verification.report import Finding


def finding(number: int, *, kind: str = "gap", is_fault: bool = True) -> Finding:
    return Finding(
        kind=kind,
        where=f"file {number}",
        key="ep00000010",
        expected="",
        got="",
        level="source",
        is_fault=is_fault,
    )


def test_twenty_findings_of_an_episode_are_all_told_faults_first() -> None:
    remarks = [finding(number, is_fault=False) for number in range(15)]
    faults = [finding(number) for number in range(15, 20)]
    assert bounded(remarks + faults) == faults + remarks


def test_beyond_twenty_one_tells_how_many_more() -> None:
    findings = [finding(number, kind="gap" if number % 2 else "tail") for number in range(23)]
    told = bounded(findings)
    assert told[:20] == findings[:20]
    assert [str(more) for more in told[20:]] == [
        (
            "file 20, key ep00000010: more: expected 20 findings of an episode at most, "
            "got 3 more: 1 gap, 2 tail"
        )
    ]


def test_what_is_left_out_is_a_remark_where_it_holds_no_fault() -> None:
    faults = [finding(number) for number in range(20)]
    remarks = [finding(number, is_fault=False) for number in range(2)]
    assert [more.is_fault for more in bounded(faults + remarks)[20:]] == [False]
    assert [more.is_fault for more in bounded([*faults, finding(20)])[20:]] == [True]


def test_remarks_of_a_kind_are_folded_faults_never() -> None:
    faults = [finding(number) for number in range(30)]
    gaps = [finding(number, is_fault=False) for number in range(22)]
    tails = [finding(number, kind="tail", is_fault=False) for number in range(20)]
    told = folded_remarks(gaps + tails + faults)
    assert told[:70] == faults + gaps[:20] + tails
    assert [str(more) for more in told[70:]] == [
        (
            "file 20, key ep00000010: remark: more: expected 20 findings of a kind at most, "
            "got 2 more: 2 gap"
        )
    ]
