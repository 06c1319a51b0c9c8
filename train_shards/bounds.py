"""How large stored numbers may be and what stored digests look like, for those that read files.

A value beyond these is refused with the path of its field, before anything is computed of it.
"""

from typing import Annotated

from msgspec import Meta

__all__ = ["MAX_EDGE_PX", "MAX_MEMBER_BYTES", "Count", "Hex", "Int64", "Positive"]

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""What an index can hold."""
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A number of things, a position, a size in bytes, an id."""
Positive = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Hex = Annotated[str, Meta(pattern=r"\A[0-9a-f]{0,64}\Z")]
"""A digest; files of a node's cache are called so. Empty where a receipt tells of no file."""

MAX_EDGE_PX = 8192
"""Most pixels each way of a stored picture, that of ``native`` ones too, which no size bounds.
A square one is below Pillow's limit against decompression bombs (89 Mpx)."""
MAX_MEMBER_BYTES = 1 << 29
"""Largest member that is read: twice the ids of a picture of ``MAX_EDGE_PX`` each way."""
