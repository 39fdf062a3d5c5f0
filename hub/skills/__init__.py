"""Skills: folders with a SKILL.md that tells a model how, and a `tools.py` that lets it.

`discover` finds them without running their code, `worker_entries` says which
processes serve their tools, and `hub.skills.worker` is that process.
`hub.skills.authoring` is for whoever writes one.
"""

from __future__ import annotations

from hub.skills.discovery import Discovery, Skill, discover, shipped_folder
from hub.skills.frontmatter import Problem
from hub.skills.workers import SHIPPED_WORKER, WorkerEntry, worker_entries

__all__ = [
    "SHIPPED_WORKER",
    "Discovery",
    "Problem",
    "Skill",
    "WorkerEntry",
    "discover",
    "shipped_folder",
    "worker_entries",
]
