"""The log: its lines, its rotation, and what must not be in it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub import telemetry
from hub.errors import ConfigError
from hub.home import Home
from hub.settings import LogSettings

log = logging.getLogger("hub.some_module")


@pytest.fixture(autouse=True)
def _quiet_afterwards() -> Iterator[None]:
    levels = logging.getLogger().level, logging.getLogger("hub").level
    yield
    telemetry.shutdown()
    logging.getLogger().setLevel(levels[0])
    logging.getLogger("hub").setLevel(levels[1])


def lines(home: Home) -> list[dict[str, Any]]:
    return [json.loads(line) for line in home.log_file.read_text(encoding="utf-8").splitlines()]


def test_a_line_holds_time_level_logger_message_and_the_facts(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    telemetry.configure(home, LogSettings())
    log.info(
        "server %s lost",
        "github",
        extra={"server": "github", "wait_s": 0.5, "path": Path("/x"), "tools": ["a"]},
    )
    log.debug("not at this level")
    logging.getLogger("httpx").info("not from a library")
    [line] = lines(home)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "hub.some_module",
        "message": "server github lost",
        "server": "github",
        "wait_s": 0.5,
        "path": "/x",
        "tools": ["a"],
    }


def test_secrets_are_hidden_wherever_they_stand(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    home.env_file.write_text("GITHUB_TOKEN=from-dotenv-1\nHUB_MODEL=a/model\n")
    telemetry.configure(home, LogSettings())
    telemetry.hide(["told-later-2", "x"])
    try:
        raise ValueError("bad key from-dotenv-1")
    except ValueError:
        log.exception(
            "calling with told-later-2 and sk-abcdefghijklmnop1234",
            extra={
                "url": "https://me:hunter22@h/x?api_key=hidden3&page=2",
                "headers": {"Authorization": "Bearer abcdefgh4", "Accept": "json"},
                "api_key": "whatever5",
                "nested": [{"token": "whatever6", "count": 6}],
                "key": "agent.rounds_max",
                "model": "a/model",
            },
        )
    text = home.log_file.read_text()
    secrets = [
        "from-dotenv-1",
        "told-later-2",
        "abcdefghijklmnop",
        "hunter22",
        "hidden3",
        "abcdefgh4",
        "whatever",
    ]
    assert [secret for secret in secrets if secret in text] == []
    [line] = lines(home)
    assert line["url"] == "https://***@h/x?api_key=***&page=2"
    assert line["headers"] == {"Authorization": "***", "Accept": "json"}
    assert line["nested"] == [{"token": "***", "count": 6}]
    assert (line["key"], line["model"]) == ("agent.rounds_max", "a/model")
    assert "ValueError: bad key ***" in line["traceback"]


def test_the_log_is_rotated_and_private(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    telemetry.configure(home, LogSettings(bytes_max=10_000, files_kept=2))
    for number in range(300):
        log.info("a line of some length, number %d", number, extra={"filler": "x" * 100})
    files = sorted(home.log_file.parent.iterdir())
    assert [file.name for file in files] == ["hub.log", "hub.log.1", "hub.log.2"]
    assert all(file.stat().st_size <= 10_000 for file in files)
    assert lines(home)[-1]["message"].endswith("number 299")
    if os.name != "nt":
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_huge_message_is_cut(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    telemetry.configure(home, LogSettings())
    log.info("x" * 1_000_000)
    assert len(home.log_file.read_text()) < 20_000


def test_what_json_does_not_know_is_written_all_the_same(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    telemetry.configure(home, LogSettings())
    loop: list[Any] = []
    loop.append(loop)
    log.info(
        "odd", extra={"what": {1: object(), "set": {1}}, "loop": loop, "nan": float("nan"), "bad": "\ud800"}
    )
    assert home.log_file.read_bytes().count(b"\n") == 1


def test_in_the_foreground_a_person_reads_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry.configure(Home.at(tmp_path), LogSettings(), foreground=True)
    log.warning("server lost", extra={"server": "github", "token": "abc"})
    shown = capsys.readouterr().err
    assert shown.endswith("warning hub.some_module: server lost server=github token=***\n")


def test_a_second_call_replaces_the_first(tmp_path: Path) -> None:
    first, second = Home.at(tmp_path / "1"), Home.at(tmp_path / "2")
    telemetry.configure(first, LogSettings())
    telemetry.configure(second, LogSettings())
    log.info("once")
    assert (len(lines(first)), len(lines(second))) == (0, 1)


def test_a_log_that_cannot_be_written_is_a_config_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match=r"hub\.log"):
        telemetry.configure(Home.at(tmp_path), LogSettings())
