"""`hub.toml`, `.env` and `HUB_*`: which one counts, and what is said when one is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOW = """
import sys
from hub.errors import ConfigError
from hub.home import Home
from hub.settings import load
try:
    settings = load(Home.at(sys.argv[1]))
except ConfigError as error:
    print(error)
    sys.exit(3)
print(settings.model, settings.agent.rounds_max, settings.tool_names, list(settings.http.allowed_hosts))
"""


def show(home: Path, **variables: str) -> tuple[int, str]:
    """What a program with this environment reads; a process of its own, since the environment is its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    done = subprocess.run(
        [sys.executable, "-c", SHOW, str(home)],
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.strip()


def test_a_home_without_files_has_the_defaults(tmp_path: Path) -> None:
    assert show(tmp_path / "nowhere") == (0, "None 30 dotted []")


def test_the_environment_counts_before_dotenv_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text('model = "file"\ntool_names = "bare"\n[agent]\nrounds_max = 1\n')
    assert show(tmp_path) == (0, "file 1 bare []")
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-x\nHUB_MODEL=dotenv\nHUB_AGENT__ROUNDS_MAX=2\n")
    assert show(tmp_path) == (0, "dotenv 2 bare []")
    assert show(tmp_path, HUB_MODEL="variable", HUB_HTTP__ALLOWED_HOSTS='["h"]') == (
        0,
        "variable 2 bare ['h']",
    )
    assert show(tmp_path, HUB_MODEL="") == (0, "dotenv 2 bare []")


@pytest.mark.parametrize(
    ("toml", "dotenv", "variables", "said"),
    [
        ("modle = 'x'", "", {}, "hub.toml: modle: "),
        ("[agent]\nround_max = 1", "", {}, "hub.toml: agent.round_max: "),
        ("[agent]\nrounds_max = 0", "", {}, "hub.toml: agent.rounds_max: "),
        ("agent = 3", "", {}, "hub.toml: agent: "),
        ("model = ", "", {}, "hub.toml: not valid TOML"),
        ("", "HUB_MODLE=x", {}, ".env: modle: "),
        ("", "HUB_AGENT__ROUNDS_MAX=many", {}, ".env: agent.rounds_max: "),
        ("", "", {"HUB_AGENT__ROUNDS_MAX": "-1"}, "the variable HUB_AGENT__ROUNDS_MAX: agent.rounds_max: "),
        ("", "", {"HUB_HTTP__ALLOWED_HOSTS": "h"}, "written as JSON"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_its_key(
    tmp_path: Path, toml: str, dotenv: str, variables: dict[str, str], said: str
) -> None:
    (tmp_path / "hub.toml").write_text(toml)
    (tmp_path / ".env").write_text(dotenv)
    code, output = show(tmp_path, **variables)
    assert code == 3
    assert said in output


def test_a_wrong_value_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text('tool_names = "s3cr3t"\n')
    code, output = show(tmp_path, HUB_AGENT="s3cr3t")
    assert code == 3
    assert "s3cr3t" not in output


def test_a_file_that_cannot_be_read_is_an_error_and_no_default(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").mkdir()
    code, output = show(tmp_path)
    assert code == 3
    assert "hub.toml: cannot be read" in output
