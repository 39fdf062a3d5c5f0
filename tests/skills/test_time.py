"""The `time` skill."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from hub.skills import shipped_folder


def test_now_is_now_here_and_elsewhere_and_an_unknown_zone_gets_a_hint(
    start_worker: Callable[..., Any],
) -> None:
    with start_worker(shipped_folder() / "time", env={}).running() as worker:
        here = worker.call("time.now")
        tokyo = worker.call("time.now", zone="Asia/Tokyo")
        assert abs(here["unix"] - time.time()) < 30
        assert tokyo["time"].endswith("+09:00")
        assert abs(datetime.fromisoformat(tokyo["time"]).timestamp() - here["unix"]) < 30
        assert tokyo["weekday"] == datetime.fromisoformat(tokyo["time"]).strftime("%A")
        assert "Europe/Berlin" in worker.refused("time.now", zone="berlin")
        assert "Europe/Berlin" in worker.refused("time.now", zone="../../etc/passwd")
