"""Finding skills: what counts as one, and what is said of one that is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hub.settings import SkillsSettings
from hub.skills import SHIPPED_WORKER, Problem, discover, shipped_folder, worker_entries


def write_skill(folder: Path, name: str, head: str | None = None, tools: str | None = None) -> Path:
    skill = folder / name
    skill.mkdir(parents=True)
    text = head if head is not None else f"---\nname: {name}\ndescription: What {name} does.\n---\nHow to.\n"
    (skill / "SKILL.md").write_text(text, encoding="utf-8")
    if tools is not None:
        (skill / "tools.py").write_text(tools, encoding="utf-8")
    return skill


def test_the_shipped_skills_are_found_and_flawless() -> None:
    found = discover([shipped_folder()])
    assert {"fs", "web"} <= {skill.name for skill in found.skills}
    assert found.problems == ()
    assert all(skill.shipped and skill.has_tools for skill in found.skills)
    assert found["fs"].instructions().startswith("# ")


def test_every_key_of_the_standard_is_read(tmp_path: Path) -> None:
    write_skill(
        tmp_path,
        "pdf-tools",
        "\ufeff---\r\nname: pdf-tools\r\ndescription: >\r\n  Reads PDFs:\r\n  all of them.\r\n"
        "license: MIT\r\ncompatibility: Needs poppler\r\n"
        "metadata:\r\n  author: somebody\r\n  hub-env: 'A_KEY B_KEY'\r\n"
        "allowed-tools: Read Bash(git add:*) fs.read\r\n---\r\n\r\n# Body\r\n",
    )
    found = discover([tmp_path])
    assert found.problems == ()
    skill = found["pdf-tools"]
    assert skill.description == "Reads PDFs: all of them."
    assert (skill.license, skill.compatibility) == ("MIT", "Needs poppler")
    assert skill.metadata["author"] == "somebody"
    assert skill.allowed_tools == ("Read", "Bash(git add:*)", "fs.read")
    assert skill.environment == ("A_KEY", "B_KEY")
    assert skill.instructions() == "# Body"
    assert not skill.has_tools


@pytest.mark.parametrize(
    ("head", "key", "said"),
    [
        ("no frontmatter at all", None, "---"),
        ("---\nname: bad\n", None, "---"),
        ("---\n- a\n- list\n---\n", None, "keys with values"),
        ("---\nname: bad\ndescription: use when: needed\n---\n", None, "line 3"),
        ("---\nname: bad\nname: bad\ndescription: d\n---\n", None, "'name' stands there twice"),
        ("---\na: &a [x]\nb: [*a, *a]\nname: bad\ndescription: d\n---\n", None, "aliases"),
        ("---\ndescription: d\n---\n", "name", "is required"),
        ("---\nname: bad\n---\n", "description", "is required"),
        ("---\nname: bad\ndescription: ''\n---\n", "description", "must not be empty"),
        ("---\nname: bad\ndescription: " + "x" * 1025 + "\n---\n", "description", "1025"),
        ("---\nname: Bad\ndescription: d\n---\n", "name", "lowercase"),
        ("---\nname: bad-\ndescription: d\n---\n", "name", "lowercase"),
        ("---\nname: " + "x" * 65 + "\ndescription: d\n---\n", "name", "65"),
        ("---\nname: other\ndescription: d\n---\n", "name", "must equal the folder's name, 'bad'"),
        ("---\nname: bad\ndescription: d\nlicense: 2.0\n---\n", "license", "quotes"),
        ("---\nname: bad\ndescription: d\ncompatibility: " + "x" * 501 + "\n---\n", "compatibility", "501"),
        ("---\nname: bad\ndescription: d\nmetadata:\n  version: 1.0\n---\n", "metadata.version", "quotes"),
        ("---\nname: bad\ndescription: d\nmetadata: [1]\n---\n", "metadata", "text values"),
        ("---\nname: bad\ndescription: d\nallowed-tools: 3\n---\n", "allowed-tools", "one string"),
    ],
)
def test_a_mistake_is_told_with_its_file_and_key_and_harms_no_other_skill(
    tmp_path: Path, head: str, key: str | None, said: str
) -> None:
    bad = write_skill(tmp_path, "bad", head)
    write_skill(tmp_path, "good")
    found = discover([tmp_path])
    assert [skill.name for skill in found.skills] == ["good"]
    errors = [problem for problem in found.problems if problem.severity == "error"]
    assert errors[0].path == bad / "SKILL.md"
    assert errors[0].key == key
    assert said in errors[0].message
    assert str(bad / "SKILL.md") in str(errors[0])


def test_keys_of_other_programs_are_a_warning_and_no_error(tmp_path: Path) -> None:
    head = "---\nname: mine\ndescription: d\nargument-hint: x\nallowed-tools: [Read, Write]\n---\n"
    write_skill(tmp_path, "mine", head)
    found = discover([tmp_path])
    assert found["mine"].allowed_tools == ("Read", "Write")
    assert {problem.key for problem in found.problems} == {"argument-hint", "allowed-tools"}
    assert {problem.severity for problem in found.problems} == {"warning"}


def test_a_later_folder_cannot_take_a_name_and_no_skill_takes_the_hubs(tmp_path: Path) -> None:
    write_skill(tmp_path, "fs")
    write_skill(tmp_path, "memory")
    found = discover([shipped_folder(), tmp_path])
    assert found["fs"].shipped
    told = {problem.path.parent.name: problem.message for problem in found.problems}
    assert str(shipped_folder() / "fs") in told["fs"]
    assert "taken by the hub" in told["memory"]


def test_disabled_skills_missing_folders_and_other_folders_are_left_out(tmp_path: Path) -> None:
    write_skill(tmp_path, "one")
    write_skill(tmp_path, "two")
    (tmp_path / "notes").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "readme.md").write_text("x")
    assert [skill.name for skill in discover([tmp_path, tmp_path / "nosuch"], disabled=["two"]).skills] == [
        "one"
    ]
    assert discover([tmp_path]).problems == ()


def test_tools_without_a_skill_file_are_told(tmp_path: Path) -> None:
    (tmp_path / "forgot").mkdir()
    (tmp_path / "forgot" / "tools.py").write_text("")
    found = discover([tmp_path])
    assert found.skills == ()
    assert found.problems[0].path == tmp_path / "forgot" / "SKILL.md"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder-instead" / "SKILL.md").mkdir(parents=True)
    assert "cannot be read" in discover([tmp_path]).problems[0].message


def test_bytes_that_are_no_text_and_a_huge_file_are_told(tmp_path: Path) -> None:
    (write_skill(tmp_path, "binary") / "SKILL.md").write_bytes(b"---\nname: \xff\n---\n")
    (write_skill(tmp_path, "huge") / "SKILL.md").write_bytes(b"x" * 2_000_000)
    told = {problem.path.parent.name: problem.message for problem in discover([tmp_path]).problems}
    assert "UTF-8" in told["binary"]
    assert "longer" in told["huge"]


def test_the_shipped_skills_share_a_worker_and_each_of_the_users_has_its_own(tmp_path: Path) -> None:
    write_skill(
        tmp_path, "mine", "---\nname: mine\ndescription: d\nmetadata: {hub-env: MY_KEY}\n---\n", tools=""
    )
    write_skill(tmp_path, "words-only")
    settings = SkillsSettings(fs_roots=(Path("/data"),), web_bytes_max=5000, tool_deadline_s=7, idle_stop_s=9)
    found = discover([shipped_folder(), tmp_path])
    environment = {"MY_KEY": "for-me", "OPENAI_API_KEY": "for-nobody-here"}
    shipped, mine = worker_entries(found.skills, settings, environment)
    assert shipped.name == SHIPPED_WORKER
    assert shipped.prefixes.items() >= {"fs": "fs.", "web": "web."}.items()
    assert shipped.env["HUB_SKILLS__FS_ROOTS"] == '["/data"]'
    assert shipped.env["HUB_SKILLS__WEB_BYTES_MAX"] == "5000"
    assert (shipped.timeout_s, shipped.idle_stop_s) == (7, 9)
    assert (mine.name, mine.prefixes, mine.env) == ("mine", {"mine": "mine."}, {"MY_KEY": "for-me"})
    assert mine.args[-1] == str(tmp_path / "mine")
    for entry in (shipped, mine):
        assert "for-nobody-here" not in str(entry)
    assert "for-me" not in repr(mine)


def test_discovery_is_light_enough_for_the_start_of_the_hub() -> None:
    code = (
        "import sys; from hub.skills import discover, shipped_folder; discover([shipped_folder()]);"
        "print([name for name in ('fastmcp', 'mcp', 'httpx', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"


def test_a_problem_reads_as_one_line() -> None:
    assert str(Problem(Path("/s/SKILL.md"), "is required", key="name")) == "/s/SKILL.md: name: is required"
