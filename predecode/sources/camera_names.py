"""Names of cameras for any key of a LeRobot feature, and back. Pure.

A name stands in member names, so it has only ``a-z 0-9 _ -`` (``train_shards.format.check_name``).
``-`` begins an escape, so that no two keys have the same name:

========== ========================================================================================
``-d``     a dot
``-u``     the letter before it is upper-case
``-l``     a low line, where a bare one would make the end ``_depth`` or ``_seg``: these ends are
           for the other modalities of a camera
``-x......`` any other character, by the six hex digits of its code point
``0-s``    nothing; in front of what may not begin a name
``-o``     at the end: the key begins with ``observation.`` only, not ``observation.images.``
``-k``     at the end: the key is the whole of it
``-h........`` at the end: cut short, with eight hex digits of the key's hash; the manifest alone
           tells the key
========== ========================================================================================
"""

import re
import string

import xxhash

from train_shards.errors import DataError

__all__ = ["camera_name", "source_key"]

_PREFIXES = {"": "observation.images.", "-o": "observation.", "-k": ""}
"""End of the name -> beginning of the key, the longest first. Source: LeRobot's usual keys."""
_BARE = frozenset(string.ascii_lowercase + string.digits + "_")
_NOTHING = "0-s"
_OF_MODALITIES = re.compile(r"_(?=(depth|seg)$)")
_LONGEST = 40
_HASH = "-h{}"
_TOKEN = re.compile(r"-d|-l|-x([0-9a-f]{6})|([a-z])-u|[a-z0-9_]")


def camera_name(key: str) -> str:
    """Returns the name of the camera that a source calls ``key``.

    Raises:
        DataError: the key is empty.

    >>> camera_name("observation.images.wrist_left"), camera_name("observation.image")
    ('wrist_left', 'image-o')
    >>> camera_name("observation.images.Front.cam")
    'f-uront-dcam'
    """
    for end, prefix in _PREFIXES.items():
        rest = key.removeprefix(prefix)
        if key.startswith(prefix) and rest:
            name = _escaped(rest) + end
            return name if len(name) <= _LONGEST else _shortened(name, key)
    raise DataError("a camera's key is empty")


def source_key(name: str) -> str:
    """Returns the key whose name ``camera_name`` gives.

    Raises:
        DataError: ``name`` is that of no key, or was cut short.

    >>> source_key("f-uront-dcam")
    'observation.images.Front.cam'
    """
    end = name[-2:] if name[-2:] in _PREFIXES else ""
    key = _PREFIXES[end] + _unescaped(name.removesuffix(end), name)
    if camera_name(key) != name:
        raise DataError(f"camera {name!r}: expected a name that stands for a key")
    return key


def _escaped(text: str) -> str:
    escaped = "".join(map(_escape, text))
    escaped = _OF_MODALITIES.sub("-l", escaped)
    return escaped if escaped[0] in _BARE - {"_"} else _NOTHING + escaped


def _escape(character: str) -> str:
    if character in _BARE:
        return character
    if character == ".":
        return "-d"
    if character in string.ascii_uppercase:
        return f"{character.lower()}-u"
    return f"-x{ord(character):06x}"


def _unescaped(text: str, name: str) -> str:
    characters, rest = [], text.removeprefix(_NOTHING)
    while rest:
        token = _TOKEN.match(rest)
        if token is None:
            raise DataError(f"camera {name!r}: {rest[:2]!r} is no escape")
        characters.append(_character(token))
        rest = rest[token.end() :]
    return "".join(characters)


def _character(token: re.Match[str]) -> str:
    code, letter = token.groups()
    if code is not None:
        return chr(min(int(code, 16), 0x10FFFF))
    if letter is not None:
        return letter.upper()
    return {"-d": ".", "-l": "_"}.get(token[0], token[0])


def _shortened(name: str, key: str) -> str:
    end = _HASH.format(f"{xxhash.xxh3_64_intdigest(key.encode('utf-8', 'surrogatepass')):016x}"[:8])
    return name[: _LONGEST - len(end)] + end
