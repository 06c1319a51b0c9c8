"""Both languages of the guide say the same commands, and lead to files that are there."""

import re
from pathlib import Path

import pytest

from tests.support.guide import GUIDES, blocks_of

LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
QUOTED_FILE = re.compile(r"`(tests/[\w/]+\.py)`")


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(guide: Path) -> None:
    links = LINK.findall(guide.read_text())
    assert len(links) >= 4
    assert [link for link in links if not (guide.parent / link).is_file()] == []
    named = QUOTED_FILE.findall(guide.read_text())
    assert len(named) == 1
    assert (guide.parents[1] / named[0]).is_file()


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_every_block_is_run_needs_the_trainer_or_is_output(guide: Path) -> None:
    kinds = [block.info for block in blocks_of(guide)]
    assert set(kinds) == {"bash run", "bash trainer", "text"}
    assert guide.read_text().count("```") == 2 * len(kinds)


def test_both_languages_have_the_same_blocks_and_sections() -> None:
    english, chinese = GUIDES
    assert blocks_of(english) == blocks_of(chinese)
    levels = [re.findall(r"^(#+) ", guide.read_text(), re.MULTILINE) for guide in GUIDES]
    assert levels[0] == levels[1]
    tables = [len(re.findall(r"^\|", guide.read_text(), re.MULTILINE)) for guide in GUIDES]
    assert tables[0] == tables[1]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_what_needs_the_trainer_starts_it_through_the_launcher(guide: Path) -> None:
    texts = [block.text for block in blocks_of(guide) if block.info == "bash trainer"]
    assert len(texts) == 4
    for text in texts:
        assert "-m train_shards.launch data=shards shards=" in text
        assert "scripts/train_pytorch.py $CONFIG --exp_name " in text
