"""What the tour is about: a team that announces a release, and once got it wrong."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from hub.simulation.scripted_model import Call, Request, Say, Step

RELEASE_MOMENT = "2026-12-03T09:00"
RELEASE_DAY = "2026-12-03"
REQUEST = "Release 2.0 goes out on 2026-12-03 at 09:00 UTC. Make sure that all our teams know when."
NEXT_REQUEST = "Release 2.1 goes out on 2027-01-14 at 09:00 UTC. Tell all our teams when."
"""The same wish in other words: what was learned must carry over."""


@dataclass(frozen=True, slots=True)
class Experience:
    """One thing that happened before the tour begins.

    Attributes:
        key: How the tour refers to it.
    """

    key: str
    intent: str
    text: str
    outcome: str


MISLEADING, HELPFUL = "bare", "zones"
EXPERIENCES = (
    Experience(
        MISLEADING,
        "tell the teams when a release goes out",
        "Wrote 'it goes out at 09:00' to all teams, without a time zone.",
        "Bad: Tokyo and São Paulo read it as their own time and missed it.",
    ),
    Experience(
        HELPFUL,
        "tell the teams when a release goes out",
        "Wrote to all teams in their own time: Europe/Berlin, Asia/Tokyo, America/Sao_Paulo.",
        "Good: nobody had to ask.",
    ),
    Experience(
        "tests",
        "release the web shop",
        "Ran the smoke tests against the staging shop before the release, not after.",
        "Good: two broken pages were found in time.",
    ),
    Experience(
        "backup",
        "restore the customer database",
        "The nightly backup was empty since March; the weekly one was whole.",
        "Good: nothing was lost.",
    ),
    Experience(
        "coffee",
        "order coffee beans for the office",
        "The dark roast from the shop on the corner was gone within a week.",
        "Good.",
    ),
)

_RECALLED = re.compile(r'^\{"id": .*\}$', re.MULTILINE)
_ZONE = re.compile(r"\b[A-Z][a-z]+/[A-Z][A-Za-z_]+\b")


def script(request: Request) -> Step:
    """What the model does next, from what it was shown.

    It takes the time zones from the recalled episodes and the times from the tools'
    answers: without them it says that it knows no teams.
    """
    zones, episode_id = _recalled_zones(request.user)
    match len(request.results):
        case 0 if not zones:
            return Say("I know of no teams: nothing was recalled, so there is nobody to tell.")
        case 0:
            return Call("almanac.world_time", {"moment": RELEASE_MOMENT, "to_zones": zones})
        case 1:
            times = _times(request.results[0])
            text = f"Release 2.0 goes out: {'; '.join(times)}" if times else request.results[0]
            return Call("notes.add", {"text": text, "tags": ["release"]})
        case _:
            times = _times(request.results[0])
            return Say(
                f"Done. I noted the release in each team's own time: {'; '.join(times)}. "
                f"Episode {episode_id} told me who they are, and how."
            )


def _recalled_zones(prompt: str) -> tuple[list[str], str]:
    """The time zones that stand in a recalled episode, and the episode's id."""
    for line in _RECALLED.findall(prompt):
        try:
            episode = json.loads(line)
        except ValueError:
            continue
        zones = list(dict.fromkeys(_ZONE.findall(str(episode.get("experience", "")))))
        if zones:
            return zones, str(episode["id"])
    return [], ""


def _times(result: str) -> list[str]:
    """`Asia/Tokyo Thursday 18:00`, for each time in the almanac's answer."""
    found = re.findall(
        r'"time":\s*"[\d-]+T(\d\d:\d\d)[^"]*",\s*"zone":\s*"([^"]+)",\s*"weekday":\s*"(\w+)"', result
    )
    return [f"{zone} {weekday} {time}" for time, zone, weekday in found]
