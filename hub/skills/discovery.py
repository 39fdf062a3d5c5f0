"""Finding skills: folders with a SKILL.md, on disk, without running any of their code.

Cheap enough for the start of the hub: it reads one small file per skill. A folder
with a mistake becomes a problem in the result and keeps no other skill away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hub.skills.frontmatter import Problem, read

SKILL_FILE = "SKILL.md"
TOOLS_FILE = "tools.py"
RESERVED_NAMES = frozenset({"agent", "memory", "hub", "tools", "results"})
"""Servers of the hub itself; a skill's tools would hide behind theirs."""
SKILLS_MAX = 512
"""How many skills are taken from the folders in all."""
ENVIRONMENT_METADATA_KEY = "hub-env"
"""The `metadata` key that lists, with spaces, the variables a skill's worker is given."""


@dataclass(frozen=True, slots=True)
class Skill:
    """One skill as its SKILL.md describes it.

    Attributes:
        folder: Its folder, absolute; the folder's name is the skill's.
        shipped: Whether it came with the hub.
        has_tools: Whether it has a `tools.py`; without one it is instructions only.
        environment: Names of the variables its tools ask for, for example an API key's.
    """

    name: str
    description: str
    folder: Path
    shipped: bool = False
    has_tools: bool = False
    license: str | None = None
    compatibility: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    allowed_tools: tuple[str, ...] = ()

    @property
    def tool_prefix(self) -> str:
        """What the worker puts before the names of this skill's tools: `fs.` for `fs`."""
        return f"{self.name}."

    @property
    def environment(self) -> tuple[str, ...]:
        return tuple(self.metadata.get(ENVIRONMENT_METADATA_KEY, "").split())

    def instructions(self) -> str:
        """The body of the SKILL.md, read now: a list of skills need not hold their texts.

        Returns:
            The Markdown after the frontmatter; empty when the file has since been broken.
        """
        frontmatter, _ = read(self.folder / SKILL_FILE)
        return frontmatter.body if frontmatter else ""


@dataclass(frozen=True, slots=True)
class Discovery:
    """What the folders hold.

    Attributes:
        skills: In the order of the folders, by name within each.
        problems: Whatever is wrong; an error among them kept its skill out.
    """

    skills: tuple[Skill, ...] = ()
    problems: tuple[Problem, ...] = ()

    def __getitem__(self, name: str) -> Skill:
        for skill in self.skills:
            if skill.name == name:
                return skill
        raise KeyError(name)


def shipped_folder() -> Path:
    """The folder of the skills that come with the hub: in the wheel, or in the checkout."""
    installed = Path(__file__).parent / "shipped"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "skills"


def discover(folders: Iterable[Path], *, disabled: Collection[str] = ()) -> Discovery:
    """Find the skills in folders of skills.

    A folder that does not exist holds none. Of two skills with one name the first
    wins, so that nothing in a later folder can take the place of a shipped one.

    Args:
        folders: Each holds one folder per skill. Those that ship come first.
        disabled: Names of skills to leave out.
    """
    skills: dict[str, Skill] = {}
    problems: list[Problem] = []
    shipped = shipped_folder().resolve()
    for folder in folders:
        for candidate in _candidates(folder, problems):
            if candidate.name in disabled:
                continue
            skill, found = read_skill(candidate, shipped=candidate.parent.resolve() == shipped)
            problems.extend(found)
            if skill is None:
                continue
            if skill.name in skills:
                message = f"is already the name of the skill in {skills[skill.name].folder}: rename this one"
                problems.append(Problem(candidate / SKILL_FILE, message, key="name"))
            elif len(skills) >= SKILLS_MAX:
                problems.append(Problem(candidate, f"is left out: at most {SKILLS_MAX} skills are taken"))
            else:
                skills[skill.name] = skill
    return Discovery(tuple(skills.values()), tuple(problems))


def read_skill(folder: Path, *, shipped: bool = False) -> tuple[Skill | None, list[Problem]]:
    """Read one skill's folder.

    Returns:
        The skill, None when there is an error among the problems; and the problems.
    """
    folder = folder.absolute()
    frontmatter, problems = read(folder / SKILL_FILE)
    if frontmatter is None:
        return None, problems
    if frontmatter.name in RESERVED_NAMES:
        message = f"{frontmatter.name!r} is taken by the hub itself: choose another name"
        return None, [*problems, Problem(folder / SKILL_FILE, message, key="name")]
    skill = Skill(
        name=frontmatter.name,
        description=frontmatter.description,
        folder=folder,
        shipped=shipped,
        has_tools=(folder / TOOLS_FILE).is_file(),
        license=frontmatter.license,
        compatibility=frontmatter.compatibility,
        metadata=frontmatter.metadata,
        allowed_tools=frontmatter.allowed_tools,
    )
    return skill, problems


def _candidates(folder: Path, problems: list[Problem]) -> Iterator[Path]:
    """The folders in a folder of skills that mean to be skills."""
    try:
        entries = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        problems.append(Problem(folder, f"cannot be read: {error.strerror}"))
        return
    for entry in entries:
        if entry.name.startswith((".", "_")) or not entry.is_dir():
            continue
        # A folder without a SKILL.md but with tools is a skill whose author forgot it.
        if (entry / SKILL_FILE).exists() or (entry / TOOLS_FILE).exists():
            yield entry
