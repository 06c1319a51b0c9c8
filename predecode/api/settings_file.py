"""The options of a run as a TOML file: ``plan --save`` writes it, ``--config`` reads it.

A key is an option as the command line spells it. Written with JSON's quoting, and by no library:
options are texts, numbers, switches and one list of texts, whose TOML is JSON's but for one
character.
"""

import dataclasses
import json
import os
import tomllib
from pathlib import Path
from typing import Any

from predecode.api.option import AnyPath, checked_value, fields_of, flag_of
from predecode.api.run_options import RunOptions, StoreOptions
from predecode.config import check_folder
from predecode.errors import UserError, disk_errors_of
from predecode.selection import nearest
from train_shards.storage import write_atomic

__all__ = ["check_target", "read_settings", "write_settings"]

_NEVER_KEPT = ("overwrite",)
"""A file that is used again must not remove what it has made."""
_HEAD = "# Options of a run: predecode run --config FILE. Options on the command line win.\n"


def read_settings(path: AnyPath) -> dict[str, Any]:
    """Returns the options that a settings file sets, as keyword arguments of ``run``.

    Raises:
        UserError: no such file, no TOML, or a key or value that no option of ``run`` has.
    """
    try:
        words = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"--config {path}: {said}. Expected a TOML file, as plan --save writes."
        ) from error
    known = {_key(field.name): field for field in fields_of(RunOptions)}
    for name in _NEVER_KEPT:
        if _key(name) in words:
            raise UserError(f"--config {path}: {name} is said on the command line alone.")
    for key in words:
        if key not in known:
            raise UserError(
                f"--config {path}: {key!r} is no option of 'predecode run'.{nearest(key, known)}"
            )
    return {
        known[key].name: checked_value(known[key], value, f"--config {path}: {key}")
        for key, value in words.items()
    }


def check_target(path: AnyPath) -> None:
    """Passes when a settings file can be written, as far as its name tells.

    Raises:
        UserError: there is a folder, or a file in a folder's place.
    """
    target = Path(path)
    check_folder("--save", target.parent)
    if target.is_dir():
        raise UserError(f"--save {target}: a folder, expected a file. Name one in it.")


def write_settings(path: AnyPath, options: StoreOptions) -> None:
    """Writes the options of a run that are set, also those that are as by default.

    Raises:
        UserError: as ``check_target``, or a word that is no text.
        InfraError: the disk refuses.
    """
    check_target(path)
    target = Path(path)
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    lines = [
        f"{_key(field.name)} = {_toml(given[field.name])}\n"
        for field in fields_of(RunOptions)
        if field.name not in _NEVER_KEPT and given[field.name] is not None
    ]
    try:
        data = (_HEAD + "".join(lines)).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"--save {target}: an option is no text: {error}.") from error
    with disk_errors_of(str(target)):
        write_atomic(target, data, target.parent)


def _key(name: str) -> str:
    return flag_of(name).removeprefix("--")


def _toml(value: object) -> str:
    if isinstance(value, str | os.PathLike):
        # TOML escapes DEL, JSON does not; all else that JSON escapes TOML reads alike.
        return json.dumps(os.fspath(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value).lower() if isinstance(value, bool) else repr(value)
