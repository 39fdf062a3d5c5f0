"""Skills over MCP: the results fit the standard's models, and the digests fit the bytes."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from fastmcp.skills.models import GetSkillResult, ListSkillsResult

from hub.errors import TooLarge, UnknownName
from hub.skills import Skill, discover, shipped_folder
from hub.skills.extension import PAGE_SKILLS, get_skill, list_resources, list_skills, read_resource


def make(folder: Path, name: str, extra: str = "") -> Skill:
    skill = folder / name
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text(
        f"---\nname: {name}\ndescription: What {name} does.\n{extra}---\n# Grüße\n"
    )
    return discover([folder])[name]


def test_lists_and_entries_fit_the_standards_models() -> None:
    skills = discover([shipped_folder()]).skills
    listed = ListSkillsResult.model_validate(list_skills(skills))
    assert [skill.uri for skill in listed.skills] == sorted(
        f"skill://{skill.name}/SKILL.md" for skill in skills
    )
    for skill in listed.skills:
        GetSkillResult.model_validate(get_skill(skills, skill.uri))
    assert {resource["uri"] for resource in list_resources(skills)} == {skill.uri for skill in listed.skills}


def test_every_file_of_the_manifest_reads_back_with_its_digest(tmp_path: Path) -> None:
    skill = make(tmp_path, "mine", "released: 2026-11-21\nweight: .inf\n")
    (skill.folder / "scripts").mkdir()
    (skill.folder / "scripts" / "a b%20#.py").write_text("print(1)")
    (skill.folder / "logo.png").write_bytes(b"\x89PNG\0")
    (skill.folder / "odd.txt").write_bytes(b"\xff\xfe")
    (skill.folder / ".git").mkdir()
    (skill.folder / ".git" / "config").write_text("hidden")
    entry = GetSkillResult.model_validate(get_skill([skill], "skill://mine/SKILL.md")).skill
    assert entry.frontmatter.root["released"] == "2026-11-21"
    assert isinstance(entry.resources, list)
    assert len(entry.resources) == 4
    for resource in entry.resources:
        (content,) = read_resource([skill], resource.uri)["contents"]
        raw = content["text"].encode() if "text" in content else base64.b64decode(content["blob"])
        assert resource.digest == f"sha256:{hashlib.sha256(raw).hexdigest()}"
        assert resource.size == len(raw)
    assert "Grüße" in read_resource([skill], "skill://mine/SKILL.md")["contents"][0]["text"]


@pytest.mark.parametrize(
    "uri",
    [
        "skill://nosuch/SKILL.md",
        "skill://mine/../other/SKILL.md",
        "skill://mine/%2e%2e/secret.txt",
        "skill://mine//etc/passwd",
        "skill://mine/.env",
        "skill://mine/",
        "file:///etc/passwd",
    ],
)
def test_nothing_but_published_files_can_be_read(tmp_path: Path, uri: str) -> None:
    skill = make(tmp_path, "mine")
    (tmp_path / "secret.txt").write_text("secret")
    (skill.folder / ".env").write_text("secret")
    with pytest.raises(UnknownName):
        read_resource([skill], uri)


def test_a_skill_that_cannot_be_published_is_left_out_and_says_why(tmp_path: Path) -> None:
    linked, huge, good = (make(tmp_path, name) for name in ("linked", "huge", "good"))
    (linked.folder / "out").symlink_to("/etc/passwd")
    (huge.folder / "big.bin").write_bytes(b"\0" * (16 * 1024 * 1024))
    listed = list_skills([linked, huge, good])["skills"]
    assert [entry["uri"] for entry in listed] == ["skill://good/SKILL.md"]
    with pytest.raises(UnknownName, match="link"):
        get_skill([linked], "skill://linked/SKILL.md")
    with pytest.raises(TooLarge, match="16777216"):
        get_skill([huge], "skill://huge/SKILL.md")
    (good.folder / "SKILL.md").write_text("broken since")
    with pytest.raises(UnknownName, match="broken"):
        get_skill([good], "skill://good/SKILL.md")


def test_many_skills_come_in_pages_without_gaps(tmp_path: Path) -> None:
    for number in range(PAGE_SKILLS + 3):
        make_quickly(tmp_path, f"skill-{number:03d}")
    skills = discover([tmp_path]).skills
    first = list_skills(skills)
    second = list_skills(skills, first["nextCursor"])
    assert len(first["skills"]) == PAGE_SKILLS
    assert "nextCursor" not in second
    uris = [entry["uri"] for entry in first["skills"] + second["skills"]]
    assert uris == sorted(f"skill://{skill.name}/SKILL.md" for skill in skills)
    with pytest.raises(UnknownName):
        list_skills(skills, "nonsense")


def make_quickly(folder: Path, name: str) -> None:
    (folder / name).mkdir()
    (folder / name / "SKILL.md").write_text(f"---\nname: {name}\ndescription: d\n---\n")
