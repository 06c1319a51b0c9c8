"""Figures and strangers' text as pages and lines show them."""

from typing import Any

__all__ = ["as_utf8", "num", "percent", "printable"]


def num(count: int, noun: str = "") -> str:
    """Returns a count with separators, and what is counted.

    >>> num(1234567), num(1, "shard"), num(2000, "shard")
    ('1,234,567', '1 shard', '2,000 shards')
    """
    if not noun:
        return f"{count:,}"
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def percent(share: float) -> str:
    """Returns a share; 0 % and 100 % only where that is exact.

    >>> [percent(share) for share in (0.0, 0.00001, 0.5, 0.99999, 1.0)]
    ['0 %', '< 0.01 %', '50.00 %', '> 99.99 %', '100 %']
    """
    if share in {0, 1}:
        return f"{100 * share:.0f} %"
    if share < 0.0001:
        return "< 0.01 %"
    return "> 99.99 %" if share > 0.9999 else f"{100 * share:.2f} %"


def printable(value: Any) -> Any:
    r"""Shows what would control the page or the reader's eye, such as a change of direction.

    >>> printable("a\u202eb\x1b"), printable(7)
    ('a\\u202eb\\x1b', 7)
    """
    if not isinstance(value, str) or hasattr(value, "__html__") or value.isprintable():
        return value
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)


def as_utf8(value: Any) -> Any:
    """Names of files that are not UTF-8 come as lone surrogates, which JSON cannot hold."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, list):
        return [as_utf8(item) for item in value]
    if isinstance(value, dict):
        return {as_utf8(name): as_utf8(item) for name, item in value.items()}
    return value
