"""What every test shares."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """asyncio is the hub's runtime; its tests run on nothing else."""
    return "asyncio"
