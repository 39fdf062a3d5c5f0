"""The tour, as a newcomer takes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hub.home import Home
from hub.lock import owner

DEADLINE_S = 180


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("demo") / "kept"
    command = [sys.executable, "-m", "hub", "demo", "--json", "--keep", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    return Home.at(folder), done


def test_the_tour_goes_through_every_step(toured: tuple[Home, subprocess.CompletedProcess[str]]) -> None:
    _, done = toured
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    steps = {step["step"]: step for step in report["steps"]}
    assert len(steps) == 9
    assert {"almanac.world_time", "notes.add", "checklist.release", "fs.read"} <= set(
        steps["One list of tools"]["tools"]
    )
    turn = steps["Let the agent work"]
    assert [call["name"] for call in turn["tool_calls"]] == ["almanac.world_time", "notes.add"]
    assert turn["output"].startswith("[scripted model]")
    values = steps["Say what helped"]["values"].values()
    assert sorted(value["after"] > value["before"] for value in values) == [False, True]
    first_before = steps["Recall"]["episodes"][0]["experience"]
    ranking_after = [episode["experience"] for episode in steps["Recall again"]["episodes"]]
    helpful = next(index for index, text in enumerate(ranking_after) if "in their own time" in text)
    assert ranking_after.index(first_before) > helpful if first_before in ranking_after else True


def test_the_tour_leaves_no_process_and_only_the_folder_that_was_asked_for(
    toured: tuple[Home, subprocess.CompletedProcess[str]],
) -> None:
    home, _ = toured
    assert owner(home) is None
    assert home.servers_file.exists()
    assert json.loads((home.root / "notes.json").read_text())[0]["text"].startswith("Release 2.0 goes out")


def test_the_tour_never_touches_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = subprocess.run(
        [sys.executable, "-m", "hub", "demo", "--keep", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 1
    assert "step 1" in done.stderr
    assert "holds something already" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
