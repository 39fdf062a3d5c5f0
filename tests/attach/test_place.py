"""Which home and which servers file an invocation means."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.errors import ConfigError
from hub.home import Home
from hub.place import Place, approve, base_home, is_approved, resolve


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HUB_HOME": str(tmp_path / "default")}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a servers file that nobody has approved."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / ".mcp.json").write_text('{"mcpServers": {}}')
    return folder


def test_the_option_goes_before_the_variable(tmp_path: Path, environ: dict[str, str]) -> None:
    assert resolve(tmp_path / "mine", None, folder=tmp_path, environ=environ) == Place(
        Home(tmp_path / "mine")
    )
    assert resolve(None, None, folder=tmp_path, environ=environ) == Place(Home(tmp_path / "default"))


def test_a_folders_file_is_passed_over_until_it_is_approved(project: Path, environ: dict[str, str]) -> None:
    base = base_home(environ)
    file = project / ".mcp.json"
    assert resolve(None, None, folder=project, environ=environ) == Place(base, unapproved=file)
    approve(base, file)
    place = resolve(None, None, folder=project, environ=environ)
    assert (place.servers_file, place.unapproved) == (file, None)
    assert place.home.root.parent == base.root / "projects"


def test_a_changed_file_needs_approval_again(project: Path, environ: dict[str, str]) -> None:
    base, file = base_home(environ), project / ".mcp.json"
    approve(base, file)
    file.write_text('{"mcpServers": {"x": {"command": "rm"}}}')
    assert not is_approved(base, file)
    assert resolve(None, None, folder=project, environ=environ).unapproved == file


def test_one_approval_leaves_the_others_standing(
    project: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    base, other = base_home(environ), tmp_path / "other.json"
    other.write_text("{}")
    approve(base, project / ".mcp.json")
    approve(base, other)
    assert is_approved(base, project / ".mcp.json")
    assert is_approved(base, other)


def test_damaged_approvals_approve_nothing(project: Path, environ: dict[str, str]) -> None:
    base = base_home(environ)
    approve(base, project / ".mcp.json")
    base.approvals_file.write_text("[oops")
    assert not is_approved(base, project / ".mcp.json")


def test_a_named_file_needs_no_approval_and_gets_its_own_home(project: Path, environ: dict[str, str]) -> None:
    place = resolve(None, ".mcp.json", folder=project, environ=environ)
    assert place.servers_file == project / ".mcp.json"
    assert place.home != base_home(environ)
    again = resolve(None, project / ".." / "project" / ".mcp.json", folder=Path("/"), environ=environ)
    assert again == place


def test_a_named_home_serves_the_named_file_itself(
    project: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    place = resolve(tmp_path / "mine", project / ".mcp.json", folder=project, environ=environ)
    assert place == Place(Home(tmp_path / "mine"), project / ".mcp.json")


def test_the_homes_own_file_by_name_is_the_home_itself(environ: dict[str, str]) -> None:
    base = base_home(environ)
    base.root.mkdir()
    base.servers_file.write_text("{}")
    assert resolve(None, base.servers_file, folder=Path("/"), environ=environ) == Place(base)


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.json"):
        resolve(None, "nowhere.json", folder=tmp_path, environ=environ)
