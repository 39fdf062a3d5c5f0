"""`hub skills`: what the hub can do by itself, and writing more of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.calls import Json
from hub.cli.invocation import Invocation, command, fail
from hub.cli.views import skills as views

if TYPE_CHECKING:
    from hub.skills import Discovery, Problem


def add_to(root: typer.Typer) -> None:
    """Add the group to the tree of commands."""
    group = typer.Typer(no_args_is_help=True, help="Skills: folders with instructions and tools of your own.")
    root.add_typer(group, name="skills", rich_help_panel="Set up")
    command(group, "list")(list_skills)
    command(group, "new")(new)
    command(group, "check")(check)


def list_skills(invocation: Invocation) -> None:
    """List the skills, and what is wrong with any."""
    found = _discover(invocation)
    answer: Json = {
        "skills": [
            {
                "name": skill.name,
                "description": skill.description,
                "folder": str(skill.folder),
                "shipped": skill.shipped,
                "tools": skill.has_tools,
            }
            for skill in found.skills
        ],
        "problems": _problems(found.problems),
    }
    invocation.show(answer, views.skills)


def new(
    invocation: Invocation,
    name: Annotated[str, typer.Argument(help="Its name: small letters, digits and single dashes.")],
    description: Annotated[
        str | None, typer.Option("--description", "-d", help="What it does, and when to use it.")
    ] = None,
) -> None:
    """Write a new skill with one working tool, ready to change."""
    from hub.skills import authoring

    folder = authoring.new(invocation.place.home.skills_folder, name, description)
    invocation.show({"name": name, "folder": str(folder)}, views.skill_created)


def check(
    invocation: Invocation,
    folder: Annotated[
        Path | None, typer.Argument(help="A skill's folder; all of them when left out.")
    ] = None,
) -> None:
    """Check skills: their SKILL.md, and that their tools load."""
    from hub.skills import authoring

    found = _discover(invocation)
    folders = [folder] if folder is not None else [skill.folder for skill in found.skills]
    problems = [] if folder is not None else list(found.problems)
    for one in folders:
        problems += [problem for problem in authoring.check(one) if problem not in problems]
    answer: Json = {"checked": [str(one) for one in folders], "problems": _problems(problems)}
    invocation.show(answer, views.skills_checked)
    if any(problem.severity == "error" for problem in problems):
        fail()


def _problems(problems: Iterable[Problem]) -> list[Json]:
    return [{"severity": problem.severity, "message": str(problem)} for problem in problems]


def _discover(invocation: Invocation) -> Discovery:
    from hub.settings import load
    from hub.skills import discover, shipped_folder

    home = invocation.place.home
    settings = load(home).skills
    folders = (shipped_folder(), *settings.folders, home.skills_folder)
    return discover(folders, disabled=settings.disabled)
