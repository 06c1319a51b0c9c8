"""The files of a report, the top of its page, its findings, and that strangers' text stays text."""

import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from predecode.errors import EpisodeFault
from predecode.verification.page import ImagePair, render_page, write_report
from predecode.verification.report import Finding, Report
from tests.support.html_page import Page
from tests.support.reports import (
    BACKENDS,
    FAULT,
    FRAMES,
    REMARK,
    SAMPLES,
    SOURCE,
    STRUCTURE,
    WORST,
    flat_pair,
    full_report,
)

replace = msgspec.structs.replace


def page_of(report: Report, *pairs: ImagePair) -> Page:
    return Page(render_page(report, pairs))


def only(**levels: object) -> Report:
    """A report of some levels, without a finding."""
    return Report(
        written_by="predecode 0.1.0", subject="out", status="proven", findings=[], num_faults=0,
        **levels,  # type: ignore[arg-type]
    )  # fmt: skip


def test_the_json_is_the_report(tmp_path: Path) -> None:
    report = full_report()
    write_report(tmp_path / "new/report", report, [flat_pair((9, 9, 9), (8, 8, 8))])
    data = (tmp_path / "new/report/report.json").read_bytes()
    assert msgspec.json.decode(data, type=Report) == report
    plain = json.loads(data)
    assert list(plain) == sorted(plain)
    assert plain["source"]["cameras"]["head"]["keyframe_gaps"] == {"1": 3, "120": 1, "250": 1200}
    names = sorted(path.name for path in (tmp_path / "new/report").iterdir())
    assert names == ["report.html", "report.json"]


def test_the_same_report_gives_the_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(tmp_path / name, full_report(), [flat_pair((9, 9, 9), (8, 8, 8))])
    for name in ("report.html", "report.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_an_older_json_does_not_stand_beside_a_newer_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(tmp_path, only(structure=STRUCTURE), [])

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("predecode.verification.page.write_atomic", fail)
    with pytest.raises(OSError, match="No space left"):
        write_report(tmp_path, full_report(), [])
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_names_that_are_not_utf8_are_written_in_letters(tmp_path: Path) -> None:
    finding = replace(REMARK, where="data/\udcff\u202e.tar")
    write_report(tmp_path, replace(full_report(), findings=[finding], subject="a\udcfe"), [])
    report = json.loads((tmp_path / "report.json").read_bytes())
    assert report["subject"] == "a\\udcfe"
    assert report["findings"][0]["where"] == "data/\\udcff\u202e.tar"
    html = (tmp_path / "report.html").read_text()
    assert "data/\\udcff\\u202e.tar" in html
    assert "\u202e" not in html


def test_text_of_strangers_stays_text() -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
    figures = replace(WORST, key=evil)
    pair = ImagePair(evil, figures, np.zeros((2, 2, 3), np.uint8), np.ones((2, 2, 3), np.uint8))
    camera = replace(FRAMES.cameras["head"], worst=[figures])
    survey = SOURCE.cameras["head"]
    report = Report(
        written_by=evil, subject=evil, status="different", num_faults=1, unchecked=evil,
        findings=[Finding(kind=evil, where=evil, key=evil, expected=evil, got=evil)],
        structure=STRUCTURE,
        frames=replace(FRAMES, backend=evil, chosen={evil: 1}, cameras={evil: camera}),
        samples=replace(SAMPLES, equal={evil: 1}),
        backends=replace(
            BACKENDS,
            names=[evil, "b"],
            pairs=[replace(BACKENDS.pairs[1], camera=evil, left=evil, right="b", why=evil)],
            fingerprints=[
                replace(BACKENDS.fingerprints[0], backend=evil, versions={evil: evil},
                        conversion=evil)
            ],
            formats=[
                replace(BACKENDS.formats[0], camera=evil, codec_name=evil, pix_fmt=evil,
                        color_range=evil, color_matrix=evil)
            ],
        ),
        source=replace(SOURCE, kind=evil, cameras={evil: survey}),
        quarantined=[EpisodeFault(1, evil, evil, evil, evil, evil)],
    )  # fmt: skip
    harmless = page_of(full_report(), flat_pair((9, 9, 9), (8, 8, 8)))
    page = page_of(report, pair)
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in harmless.tags}
    assert page.count("img") == 3
    assert not {name for _, a in page.tags for name in a if name.startswith("on")}
    assert page.rows["findings"][1][2:] == [evil] * 5
    assert f"{evil}, {evil}: shard" in page.attributes("alt")


def test_nothing_is_loaded_from_elsewhere() -> None:
    html = render_page(full_report(), [flat_pair((9, 9, 9), (8, 8, 8))])
    page = Page(html)
    assert {uri.split(":")[0] for uri in page.attributes("src")} == {"data"}
    assert {uri[0] for uri in page.attributes("href") if not uri.startswith("data:")} == {"#"}
    assert not {"script", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}
    assert not re.search(r"https?:|url\(|@import", html)
    assert page.attributes("http-equiv") == ["Content-Security-Policy"]
    assert page.attributes("content")[0].startswith("default-src 'none'; img-src data:;")


def test_links_lead_to_sections_and_ids_are_unique() -> None:
    page = page_of(full_report(), flat_pair((9, 9, 9), (8, 8, 8)))
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    links = [uri[1:] for uri in page.attributes("href") if uri.startswith("#")]
    assert links == [
        "findings", "structure", "frames", "samples", "backends", "source", "quarantined",
    ]  # fmt: skip
    assert set(links) <= set(ids)
    assert set(page.attributes("aria-labelledby")) <= set(ids)
    for tag, attributes in page.tags:
        assert tag != "th" or attributes["scope"] in {"row", "col"}
        assert tag != "img" or attributes["alt"]
        assert tag != "svg" or attributes["aria-label"]
    assert [a for tag, a in page.tags if tag == "html"] == [{"lang": "en"}]


def test_the_top_says_the_verdict_what_it_rests_on_and_what_was_left_out() -> None:
    page = page_of(full_report())
    assert page.text("head") == "Different: shards/"
    assert page.text("header").startswith("✗ Different shards/ 1 fault found. Findings Structure")
    assert page.text("section") == (
        "What this rests on "
        "3 shards and 1 table read and hashed: 1,712 samples, 45.2 MB. "
        "600 images of 300 samples decoded anew with pyav; asked for: at least 25 dB each. "
        "64 items against items decoded on line; tables of 5 episodes, 1,712 rows, against the "
        "source's. "
        "3 decoders against each other: pyav, torchcodec, video_reader. "
        "Headers, packet tables and metadata of 5 episodes, 1,712 frames; no picture decoded for "
        "that. "
        "What was not looked at "
        "The images of 1,412 samples were not decoded anew. "
        "1 episode in quarantine: not stored."
    )


def test_a_whole_proof_leaves_nothing_out() -> None:
    report = only(
        structure=STRUCTURE,
        frames=replace(FRAMES, num_samples=1712, is_lossless=True),
        samples=SAMPLES, backends=BACKENDS, source=SOURCE,
    )  # fmt: skip
    page = page_of(report)
    assert page.text("header").startswith(
        "✓ Proven out Everything that was looked at is as it should be. Findings"
    )
    assert "decoded anew with pyav; asked for: every pixel equal." in page.text("section")
    assert page.text("section").endswith("What was not looked at Nothing was left out.")


def test_a_proof_may_come_with_remarks() -> None:
    page = page_of(replace(only(structure=STRUCTURE), findings=[REMARK]))
    assert page.text("header").startswith(
        "✓ Proven out Everything that was looked at is as it should be; 1 remark. Findings"
    )


def test_a_level_that_was_not_asked_for_says_so() -> None:
    page = page_of(only(source=SOURCE))
    for name in ("structure", "frames", "samples", "backends"):
        assert page.text(name) == f"{name.capitalize()} Not asked for."
    assert page.text("section").endswith(
        "What was not looked at No stored image was compared with the source. "
        "Not asked for: structure, frames, samples, backends."
    )


def test_what_could_not_be_checked_is_said_with_its_reason() -> None:
    report = replace(only(structure=STRUCTURE), status="unchecked", unchecked="no source at /data")
    page = page_of(report)
    assert page.text("header").startswith(
        "? Could not check out Not all that was asked for could be looked at: no source at /data "
    )
    assert page.text("frames") == "Frames Not looked at."
    assert (
        page_of(replace(report, structure=None))
        .text("section")
        .startswith("What this rests on Nothing. What was not looked at")
    )
    page = page_of(replace(report, status="different", num_faults=2))
    assert page.text("header").startswith(
        "✗ Different out 2 faults found. Not all could be looked at: no source at /data "
    )


def test_faults_stand_before_remarks_and_keep_their_order() -> None:
    other = replace(FAULT, where="b1k-train-000000")
    page = page_of(replace(full_report(), findings=[REMARK, FAULT, other], num_faults=2))
    assert page.text("findings").startswith("Findings 2 faults, 1 remark. Findings, faults first")
    assert page.rows["findings"][1:] == [
        ["fault", "frames", "psnr", "b1k-train-000001", "ep00000040_f000311",
         "head: at least 32 dB", "31.2 dB"],
        ["fault", "frames", "psnr", "b1k-train-000000", "ep00000040_f000311",
         "head: at least 32 dB", "31.2 dB"],
        ["remark", "structure", "unknown-file", "data/notes.txt", "",
         "only files of the manifest", "this file"],
    ]  # fmt: skip


def test_of_many_findings_200_are_shown_and_the_rest_is_counted() -> None:
    findings = [REMARK] * 3 + [FAULT] * 205
    page = page_of(replace(full_report(), findings=findings, num_faults=205))
    assert [row[0] for row in page.rows["findings"]] == ["Severity"] + ["fault"] * 200
    assert (
        "205 faults, 3 remarks. The first 200 are shown; 5 more faults and 3 more remarks stand in "
        "report.json." in page.text("findings")
    )


def test_a_long_text_is_cut_and_no_finding_is_none() -> None:
    page = page_of(replace(full_report(), findings=[replace(FAULT, got="x" * 5000)]))
    assert page.rows["findings"][1][-1] == "x" * 397 + "..."
    assert page_of(only()).text("findings") == "Findings None."
