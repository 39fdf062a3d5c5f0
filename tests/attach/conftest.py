"""Homes, and attachments to the fake hub."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.home import Home
from tests.attach.client import Attachment, end_all

ATTACH_TO_FAKE = Path(__file__).with_name("attach_to_fake.py")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home that does not exist yet; whatever was started for it is ended."""
    home = Home.at(tmp_path / "home")
    yield home
    end_all(home)


@pytest.fixture
def attach(home: Home) -> Iterator[Callable[..., Attachment]]:
    """Starts attachments to the fake hub."""
    started: list[Attachment] = []

    def start(*fake_hub_options: str, **options: Any) -> Attachment:
        command = [sys.executable, str(ATTACH_TO_FAKE), str(home.root), *fake_hub_options]
        started.append(Attachment(command, **options))
        return started[-1]

    yield start
    for attachment in started:
        attachment.end()
