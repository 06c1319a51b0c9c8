"""Annotated skills and primitives -> phrases, by the trainer's templates. Pure.

Source of every rule: ``SubtaskPhraseConverter`` of openpi-comet (``dataset_utils.py``). Templates
are ``{"skill": {"pick up from": {"fields": ["obj", "src"], "template": "pick up the {obj} from the
{src}"}}, "primitive": {...}}``; names of objects are a map from an object's id to words.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["Phrases", "first_text", "object_words"]


def first_text(value: Any) -> str:
    """Returns the first text in a value or in nested lists, stripped; ``""`` where there is none.

    >>> first_text([None, [" pick up from "]])
    'pick up from'
    """
    return next((text for item in _flat(value) if (text := str(item).strip())), "")


def object_words(object_id: str, names: Mapping[str, str | None]) -> str:
    """Returns the words for an object's id: its entry, else the id without its numbers.

    An id of a side or a list, and an entry that is null, has no words: ``""``.

    >>> object_words("coffee_table_koagbh_0", {}), object_words("radio_89", {"radio_89": "radio"})
    ('coffee table koagbh', 'radio')
    """
    object_id = object_id.strip()
    if object_id in names:
        entry = names[object_id]
        if entry is None or entry.strip():
            return (entry or "").strip()
    is_list = object_id.startswith("[") and object_id.endswith("]")
    if is_list or object_id.lower() in ("left", "right"):
        return ""
    parts = [part for part in object_id.replace("-", "_").split("_") if part]
    while parts and re.fullmatch(r"\d+", parts[-1]):
        parts.pop()
    return " ".join(" ".join(parts).lower().split())


class _Objects(NamedTuple):
    """Words of what an action is about; ``""`` where there are none."""

    main: str
    other: str
    """The last object named, or the only one."""


class Phrases:
    """Makes phrases of annotations."""

    def __init__(
        self,
        templates: Mapping[str, Mapping[str, Mapping[str, Any]]],
        names: Mapping[str, str | None],
        *,
        joiner: str = " then ",
        compat: bool = False,
    ) -> None:
        """Takes the tables as read.

        Args:
            templates: by kind (``skill``, ``primitive``) and description.
            names: object id -> words, or None for an object that is not to be named.
            joiner: between the phrases of a primitive of several actions.
            compat: keep upstream's reading of a split skill, whose group of objects stands there
                once for each of its ranges: the first object, and the first once more.
        """
        self._templates = {**templates.get("primitive", {}), **templates.get("skill", {})}
        self._names, self._joiner, self._compat = names, joiner, compat

    def of_skill(self, annotation: Mapping[str, Any]) -> str:
        """Returns the phrase of one entry of ``skill_annotation``, ``""`` without a description."""
        action = first_text(annotation.get("skill_description"))
        if not action:
            return ""
        objects = self._objects(
            action, annotation.get("object_id"), annotation.get("manipulating_object_id")
        )
        if action.lower() in ("open door", "close door"):
            door = self._target(action, objects) or objects.main or "door"
            return self._filled(action, target=door) or f"{action.lower().split()[0]} the {door}"
        if action.lower() == "move to":
            place = self._target(action, objects) or objects.main
            phrase = self._filled(action, obj=objects.main, target=place)
            return phrase or (f"move to the {place}" if place else action)
        return self._templated(action, objects) or _plain(action.lower(), objects)

    def of_primitive(self, annotation: Mapping[str, Any]) -> str:
        """Returns the phrase of one entry of ``primitive_annotation``: its actions, joined."""
        actions = [text for a in _flat(annotation.get("primitive_description"))
                   if (text := str(a).strip())]  # fmt: skip
        object_ids, manipulated = (
            annotation.get("object_id"), annotation.get("manipulating_object_id"),
        )  # fmt: skip
        phrases = []
        for number, action in enumerate(actions):
            objects = self._objects(
                action,
                _own(object_ids, number, len(actions)),
                _own(manipulated, number, len(actions)),
            )
            phrases.append(self._templated(action, objects) or action.lower())
        return " ".join(self._joiner.join(phrases).split())

    def _fields(self, action: str) -> list[str]:
        return list(self._templates.get(action, {}).get("fields") or [])

    def _target(self, action: str, objects: _Objects) -> str:
        """The other object, where the template has a place for it."""
        return objects.other if {"src", "dst", "target"} & set(self._fields(action)) else ""

    def _objects(self, action: str, object_ids: Any, manipulated: Any) -> _Objects:
        first, last = _first_and_last(object_ids, compat=self._compat)
        # A template with a single place, for an object, speaks of the last one named.
        is_about_last = last and self._fields(action) == ["obj"]
        main = last if is_about_last else first or first_text(manipulated)
        return _Objects(object_words(main, self._names), object_words(last or first, self._names))

    def _templated(self, action: str, objects: _Objects) -> str:
        fields = self._fields(action)
        others = {name: objects.other for name in ("src", "dst", "target") if name in fields}
        return self._filled(action, obj=objects.main, **others)

    def _filled(self, action: str, **words: str) -> str:
        """The template with words in its places; a place without words is left empty."""
        text = str(self._templates.get(action, {}).get("template") or "")
        for name in ("obj", "src", "dst", "target"):
            text = text.replace(f"{{{name}}}", words.get(name, ""))
        return " ".join(text.replace("{verb}", action.lower()).split())


_OF_TWO_PLACES = ("pick up from", "take out of", "place in", "place on")
"""Actions that upstream names alone where no template says how to name their objects."""


def _plain(action: str, objects: _Objects) -> str:
    """An action without a template."""
    if action in _OF_TWO_PLACES or not objects.main:
        return action
    if objects.other in ("", objects.main):
        return f"{action} the {objects.main}"
    return f"{action} the {objects.main} to the {objects.other}"


def _first_and_last(object_ids: Any, *, compat: bool) -> tuple[str, str]:
    """The first and, where there are several, the last object named; ``""`` for none."""
    if not isinstance(object_ids, list):
        return first_text(object_ids), ""
    groups = object_ids
    is_repeated = not compat and all(group == groups[0] for group in groups[1:])
    if groups and isinstance(groups[0], list) and (len(groups) == 1 or is_repeated):
        groups = groups[0]
    named = [group for group in groups if group is not None]
    if not named:
        return "", ""
    return first_text(named[0]), first_text(named[-1]) if len(named) > 1 else ""


def _own(values: Any, number: int, count: int) -> Any:
    """What belongs to one of ``count`` actions: its entry, or all where they are not so many."""
    return values[number] if isinstance(values, list) and len(values) == count else values


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _flat(item)
    elif value is not None:
        yield value
