"""One process owns a home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hub.errors import ConfigError, HomeInUse
from hub.home import Home
from hub.lock import HomeLock, owner

HOLDER = """
import sys
from hub.home import Home
from hub.lock import HomeLock
HomeLock(Home.at(sys.argv[1]), listens=sys.argv[2] == "listens").acquire()
print("held", flush=True)
sys.stdin.read()
"""


def hold(home: Home, how: str = "listens") -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home.root), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def end(holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.communicate()


def test_a_held_home_names_its_owner(home: Home) -> None:
    holder = hold(home)
    try:
        with pytest.raises(HomeInUse, match=f"process {holder.pid}.*hub stop") as refused:
            HomeLock(home).acquire()
        assert refused.value.details == {"pid": holder.pid, "listens": True}
    finally:
        end(holder)


def test_an_embedded_owner_is_told_from_one_that_can_be_attached_to(home: Home) -> None:
    holder = hold(home, "embedded")
    try:
        with pytest.raises(HomeInUse, match="embedded") as refused:
            HomeLock(home).acquire()
        assert refused.value.details["listens"] is False
    finally:
        end(holder)


def test_the_lock_ends_with_its_process_however_that_ends(home: Home) -> None:
    holder = hold(home)
    end(holder)
    assert home.process_file.exists()
    with HomeLock(home):
        found = owner(home)
        assert found is not None
        assert found["pid"] == os.getpid()
    assert owner(home) is None
    with HomeLock(home):
        pass


def test_a_lock_is_not_inherited_by_children(home: Home) -> None:
    with HomeLock(home):
        command = [sys.executable, "-c", "print(flush=True); input()"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False)
        assert child.stdout is not None
        child.stdout.readline()
    try:
        with HomeLock(home):
            pass
    finally:
        child.communicate(b"\n")


def test_the_home_is_shut_to_others(home: Home) -> None:
    home.root.mkdir(mode=0o755)
    with HomeLock(home):
        assert home.root.stat().st_mode & 0o777 == 0o700
        assert json.loads(home.process_file.read_text())["version"]


def test_a_home_that_cannot_be_a_folder_is_an_error_with_a_way_out(home: Home) -> None:
    home.root.write_text("a file")
    with pytest.raises(ConfigError, match="--home"):
        HomeLock(home).acquire()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_home_that_cannot_be_written_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ConfigError, match="--home"):
            HomeLock(Home(tmp_path / "home")).acquire()
    finally:
        tmp_path.chmod(0o700)
