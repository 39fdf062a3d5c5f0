"""What went wrong with a model, told to whoever can act, without secrets.

LiteLLM raises a subclass of one of OpenAI's errors whatever the provider; this is the
one table that translates them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hub.calls import Json
from hub.errors import ModelError, ModelTimeout
from hub.llm.choice import Choice
from hub.redaction import HIDDEN, bare_url, hide_shapes

CONTEXT_EXCEEDED = "context_exceeded"
"""The detail of a `ModelError` that says the prompt was too long for the model."""

_TEXT_CHARS_MAX = 400

_KEY = "refused the key. Check the provider's key in `.env` in the home"
_TOLD = {
    401: _KEY,
    402: "wants its account topped up",
    403: _KEY,
    404: "does not exist there. Check HUB_MODEL and api_base",
    413: "refused the request as too large",
    429: "is over its rate limit or quota. Wait, or check the account",
}
"""What an HTTP status means for whoever can act."""

_TRANSIENT = frozenset({408, 409, 429, 500, 502, 503, 504, 529})


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt that failed.

    Attributes:
        error: What to tell.
        transient: Whether the same request may succeed a moment later.
        retry_after_s: When the provider wants to be asked again; None when it did not say.
    """

    error: ModelError
    transient: bool
    retry_after_s: float | None = None


class NoAnswer(Exception):
    """A stream that ended although the model had not said that it was done."""


def failure(error: Exception, choice: Choice, *, begun: bool) -> Failure:
    """Translate what LiteLLM raised.

    Args:
        error: An `openai.OpenAIError`, or `NoAnswer`.
        choice: The model that was asked.
        begun: Whether some of the answer had come already.
    """
    import openai

    where = f"model {choice.model!r}" + (f" at {bare_url(choice.api_base)}" if choice.api_base else "")
    if begun and (isinstance(error, NoAnswer) or _caused_by_connection(error)):
        return Failure(ModelError(f"{where} broke off in the middle of its answer. Try again"), True)
    if isinstance(error, openai.APITimeoutError):
        return Failure(ModelTimeout(f"{where} did not answer in time"), True)
    if _caused_by_connection(error):
        text = f"{where} cannot be reached. Check that it runs and that api_base is right"
        return Failure(ModelError(text), True)
    # LiteLLM calls an answer that it cannot read an internal error of the provider; told apart below.
    status = None if _caused_by_parsing(error) else getattr(error, "status_code", None)
    if status is None:
        text = (
            f"{where} sent something that is no answer. Check that api_base is the base URL of a model's API"
        )
        return Failure(ModelError(text), True)
    details: Json = {"status": status}
    if type(error).__name__ == "ContextWindowExceededError":
        details[CONTEXT_EXCEEDED] = True
    told = _TOLD.get(status) or ("refused the request" if status < 500 else f"failed with status {status}")
    message = f"{where} {told}. It said: {_said(error, choice)}"
    return Failure(ModelError(message, **details), status in _TRANSIENT, _retry_after(error))


def timed_out(choice: Choice, deadline_s: float) -> ModelTimeout:
    """The error for a model that took longer than it was given."""
    return ModelTimeout(
        f"model {choice.model!r} took over {deadline_s:g} s. "
        "Try again, or raise agent.model_deadline_s in hub.toml",
        model=choice.model,
    )


def _caused_by_connection(error: BaseException) -> bool:
    """Whether the connection failed, which LiteLLM tells as an internal error of the provider."""
    import httpx

    return any(isinstance(cause, httpx.TransportError | OSError) for cause in _causes(error))


def _caused_by_parsing(error: BaseException) -> bool:
    """Whether what came could not be read, which LiteLLM tells as an internal error as well."""
    return any(
        isinstance(cause, ValueError) or ("choices" in str(cause) and "not a list" in str(cause))
        for cause in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it; ten at most, which guards against a cycle."""
    cause: BaseException | None = error
    for _ in range(10):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__


def _said(error: Exception, choice: Choice) -> str:
    """The provider's own words: one line, bounded, without anything that looks like a key."""
    text = str(getattr(error, "message", "") or error)
    text = re.sub(r"^(?:litellm\.)?(?:\w+: )*(?:\w+Exception - )?", "", text)
    if choice.api_key:
        text = text.replace(choice.api_key, HIDDEN)
    text = " ".join(hide_shapes(text).split())
    return text[:_TEXT_CHARS_MAX] + ("…" if len(text) > _TEXT_CHARS_MAX else "")


def _retry_after(error: Any) -> float | None:
    headers = getattr(error, "litellm_response_headers", None)
    header = headers.get("retry-after") if headers else None
    try:
        return max(0.0, float(header)) if header is not None else None
    except ValueError:
        return None
