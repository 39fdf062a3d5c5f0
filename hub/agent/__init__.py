"""The agent: one turn loop, the same for every face.

    agent = Agent(router, memory, sessions, model, settings, clock)
    result = await agent.run_turn(caller, "default", "What changed since Monday?")

A turn recalls, asks the model, calls tools through the router like anybody, answers,
and is kept with everything that happened in it.
"""

from hub.agent.agent import Agent, Running
from hub.agent.events import Event, Listener
from hub.agent.limits import Limits
from hub.agent.ports import Memory, Model, ToolSurface
from hub.agent.result import Status, ToolCallReport, TurnResult

__all__ = [
    "Agent",
    "Event",
    "Limits",
    "Listener",
    "Memory",
    "Model",
    "Running",
    "Status",
    "ToolCallReport",
    "ToolSurface",
    "TurnResult",
]
