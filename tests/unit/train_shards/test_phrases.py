"""Phrases of annotations: literal texts."""

from typing import Any

import pytest

from tests.support.texts import NAMES, TEMPLATES
from train_shards.phrases import Phrases, object_words

PHRASES = Phrases(TEMPLATES, NAMES)


def skill(text: Any, objects: Any, manipulated: Any = None) -> dict[str, Any]:
    return {
        "skill_description": [text], "object_id": objects, "manipulating_object_id": manipulated,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("object_id", "words"),
    [
        ("radio_89", "radio"),
        ("coffee_table_koagbh_0", "coffee table koagbh"),  # the model's hash stays
        ("half-log-176-0", "half log"),
        ("diced__Chili", "diced chili"),
        ("fridge_dszchb_0", "fridge"),
        ("agent_n_01_1", ""),
        ("Left", ""),
        ("left", "left"),  # the entry of the map comes first
        ("['a', 'b']", ""),
        ("12", ""),
        ("  ", ""),
    ],
)
def test_an_object_is_named_by_the_map_else_by_its_id_without_numbers(
    object_id: str, words: str
) -> None:
    assert object_words(object_id, NAMES) == words


@pytest.mark.parametrize(
    ("entry", "phrase"),
    [
        (skill("move to", [["radio_89"]]), "move to the radio"),
        (skill("pick up from", [["radio_89", "fridge_dszchb_0"]]),
         "pick up the radio from the fridge"),
        (skill("place in", [["radio_89", "tray_1", "fridge_dszchb_0"]]),
         "place the radio in the fridge"),  # of three the first and the last
        (skill("place in", [["radio_89"], ["fridge_dszchb_0"]]),
         "place the radio in the fridge"),  # a group each
        (skill("press", [["radio_89", "button_2"]]), "press the button"),  # one place: the last
        (skill("press", None, ["radio_89"]), "press the radio"),
        (skill("open door", [["fridge_dszchb_0"]]), "open the fridge"),
        (skill("open door", None), "open the door"),
        (skill("close door", [["fridge_dszchb_0"]]), "close the fridge"),  # without a template
        (skill("pick up from", [["agent_n_01_1", "radio_89"]]),
         "pick up the from the radio"),  # a place without words stays empty
        (skill("wipe hard", [["radio_89"]]), "wipe the radio firmly"),  # a primitive's template
        (skill("hand over", [["radio_89", "tray_1"]]), "hand over the radio to the tray"),
        (skill("hand over", [["radio_89"]]), "hand over the radio"),
        (skill("Hand over", None), "hand over"),
        (skill("take out of", [["radio_89", "tray_1"]]), "take out of"),
        (skill(None, [["radio_89"]]), ""),
    ],
)  # fmt: skip
def test_the_phrase_of_a_skill(entry: dict[str, Any], phrase: str) -> None:
    assert PHRASES.of_skill(entry) == phrase


def test_a_skill_without_template_to_go_by_is_named_itself() -> None:
    assert Phrases({}, {}).of_skill(skill("move to", [["radio_89"]])) == "move to the radio"
    assert Phrases({}, {}).of_skill(skill("Move to", None)) == "Move to"


def test_a_split_skill_has_its_own_source_and_upstreams_only_with_compat() -> None:
    split = skill("pick up from", [["radio_89", "fridge_dszchb_0"]] * 2)
    assert PHRASES.of_skill(split) == "pick up the radio from the fridge"
    upstream = Phrases(TEMPLATES, NAMES, compat=True)
    assert upstream.of_skill(split) == "pick up the radio from the radio"


def test_the_phrase_of_a_primitive_joins_its_actions() -> None:
    entry = {
        "primitive_description": ["pick up from", "wipe hard", "Dance"],
        "object_id": [["radio_89", "fridge_dszchb_0"], ["tray_1"], None],
    }
    joined = "pick up the radio from the fridge then wipe the tray firmly then dance"
    assert PHRASES.of_primitive(entry) == joined
    other = Phrases(TEMPLATES, NAMES, joiner=", ")
    assert other.of_primitive(entry) == joined.replace(" then", ",")
    assert PHRASES.of_primitive({"primitive_description": [None]}) == ""
