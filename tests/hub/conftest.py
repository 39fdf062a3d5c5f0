"""Homes with hubs as processes, whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.running import Hubs


@pytest.fixture
def hubs(tmp_path: Path) -> Iterator[Hubs]:
    """Starts hubs in a home that exists and is empty."""
    home = tmp_path / "home"
    home.mkdir()
    hubs = Hubs(home)
    yield hubs
    hubs.end()
