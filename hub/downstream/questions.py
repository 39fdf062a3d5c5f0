"""What servers ask of clients in the middle of a call, and whether a client said that it answers."""

from __future__ import annotations

from collections.abc import Mapping

from hub.calls import Call, Json

QUESTIONS: Mapping[str, str] = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots",
}
"""What a server may ask, and the capability that its client must have declared."""


def askable(call: Call) -> bool:
    """Whether the caller can be asked anything."""
    return call.ask is not None and any(capability in call.capabilities for capability in QUESTIONS.values())


def undeclared(call: Call, method: str, params: Json) -> Json | None:
    """The capability that a question needs and its caller did not declare; None when it did.

    Args:
        call: Whose caller would be asked.
        method: Of the question.
        params: Of the question.
    """
    capability = QUESTIONS.get(method, method)
    declared = call.capabilities.get(capability)
    if not isinstance(declared, dict):
        return {capability: {}}
    detail = None
    if method == "elicitation/create":
        # A client that names no mode means forms (2025-06-18 knew nothing else).
        detail = "url" if params.get("mode") == "url" else "form" if "url" in declared else None
    elif method == "sampling/createMessage" and ("tools" in params or "toolChoice" in params):
        detail = "tools"
    return {capability: {detail: {}}} if detail is not None and detail not in declared else None
