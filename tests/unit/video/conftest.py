"""The test videos, made once a session."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.media import make


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from an asset's name to its file."""
    directory = tmp_path_factory.mktemp("media")
    return lambda name: make(name, directory)
