"""Texts of strangers in every text of a report: none of them is live in its page."""

import unicodedata
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from predecode.errors import Death
from predecode.verification.page import ImagePair, render_page
from predecode.verification.report import Report
from tests.support.html_page import Page
from tests.support.reports import flat_pair, full_report

pytestmark = pytest.mark.faults

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "' onmouseover='alert(3)",
    "javascript:alert(4)",
    "</title></style><svg onload=alert(5)>",
    "{{ 1234567 * 7 }}{% raw %}",
    "\u202egnp.exe\u2066\u200f\u061c\u2069",
    "\x00\x1b[31m\x07",
    "<!-- ]]> -->&lt;&#x3C;",
]
FIXED = {"status", "level"}
"""Fields whose words are our own: a report with others cannot be read."""


def filled(value: Any, text: str, field: str = "") -> tuple[Any, int]:
    """A plain value with ``text`` in place of every text, also in keys; and how many there were."""
    if isinstance(value, str) and field not in FIXED:
        return text, 1
    if isinstance(value, dict):
        pairs = [(name, *filled(inner, text, name)) for name, inner in value.items()]
        is_free = field in {"cameras", "chosen", "equal", "versions", "decoder", "others"}
        renamed = {(text if is_free else name): inner for name, inner, _ in pairs}
        return renamed, sum(number for _, _, number in pairs) + is_free
    if isinstance(value, list):
        inner = [filled(one, text, field) for one in value]
        return [one for one, _ in inner], sum(number for _, number in inner)
    return value, 0


def hostile(text: str) -> tuple[Report, int]:
    report = full_report()
    death = Death(reason="hang", task="t", stderr=["x"], decoder={"a": "b"}, others={"c": "d"})
    (fault,) = report.quarantined
    report.quarantined = [msgspec.structs.replace(fault, death=death)]
    plain, number = filled(msgspec.to_builtins(report, str_keys=True), text)
    return msgspec.convert(plain, Report, strict=False), number


def marks(html: str) -> Iterator[str]:
    """Characters that turn the direction of text, or that a terminal acts on."""
    for character in html:
        is_control = unicodedata.category(character) in {"Cc", "Cf"} and character != "\n"
        if is_control or unicodedata.bidirectional(character) in {"RLE", "LRE", "RLO", "LRO"}:
            yield character


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_stranger_is_live(text: str) -> None:
    report, number = hostile(text)
    assert number > 40
    pair = flat_pair((9, 9, 9), (8, 8, 8))
    black = np.zeros((2, 2, 3), np.uint8)
    bad_pair = ImagePair(text, msgspec.structs.replace(pair.figures, key=text), black, black)
    html = render_page(report, [bad_pair])
    page, harmless = Page(html), Page(render_page(full_report(), [pair]))
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in harmless.tags}
    names = {name for _, attributes in page.tags for name in attributes}
    assert names <= {name for _, attributes in harmless.tags for name in attributes}
    for name in ("href", "src"):
        assert page.attributes(name)
        assert all(uri.startswith(("#", "data:image/", "data:,")) for uri in page.attributes(name))
    assert "8641969" not in html
    assert not list(marks(html))


def test_a_page_that_escapes_nothing_would_be_seen() -> None:
    raw = "".join(f"<p>{text}</p>" for text in HOSTILE)
    assert {"script", "img", "svg"} <= {tag for tag, _ in Page(raw).tags}
    assert set(marks(raw)) >= {"\u202e", "\u2066", "\u200f", "\u061c", "\x1b"}
