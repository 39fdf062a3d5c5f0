"""What went wrong with a model, told to whoever can act, without secrets.

LiteLLM raises a subclass of one of OpenAI's errors whatever the provider; this is the
one table that translates them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from hub.errors import ModelError, ModelTimeout
from hub.llm.choice import Choice

_TEXT_CHARS_MAX = 400

_KEY_LIKE = re.compile(
    r"\b(?:sk|pk|rk|xai|gsk|AIza|key|Bearer)[-_ ]?[A-Za-z0-9*_.-]{8,}|\b[A-Za-z0-9_-]{32,}\b"
)
"""What looks like a key; providers quote the key they refuse."""

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


class Cut(Exception):
    """A stream that ended before the model said that it had."""


def failure(error: Exception, choice: Choice) -> Failure:
    """Translate what LiteLLM raised.

    Args:
        error: An `openai.OpenAIError`, or `Cut`.
        choice: The model that was asked.
    """
    import openai

    where = f"model {choice.model!r}" + (f" at {_address(choice.api_base)}" if choice.api_base else "")
    if isinstance(error, Cut):
        return Failure(ModelError(f"{where} broke off in the middle of its answer. Try again"), True)
    if isinstance(error, openai.APITimeoutError):
        return Failure(ModelTimeout(f"{where} did not answer in time"), True)
    status = getattr(error, "status_code", None)
    said = _said(error, choice)
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        text = f"{where} refused the key. Check the provider's key in `.env` in the home. It said: {said}"
        return Failure(ModelError(text, status=status), False)
    if isinstance(error, openai.RateLimitError):
        text = f"{where} is over its rate limit or quota. Wait, or check the account. It said: {said}"
        return Failure(ModelError(text, status=429), True, _retry_after(error))
    if isinstance(error, openai.NotFoundError):
        text = f"{where} does not exist there. Check HUB_MODEL and api_base. It said: {said}"
        return Failure(ModelError(text, status=status), False)
    if isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError):
        return Failure(ModelError(f"{where} refused the request. It said: {said}", status=status), False)
    if isinstance(error, openai.APIStatusError) and not _unreachable(error):
        text = f"{where} failed with status {status}. Try again later. It said: {said}"
        return Failure(ModelError(text, status=status), status in _TRANSIENT, _retry_after(error))
    if _unreachable(error):
        text = f"{where} cannot be reached. Check that it runs and that api_base is right"
        return Failure(ModelError(text), True)
    return Failure(ModelError(f"{where} sent something that is no answer. It said: {said}"), True)


def timed_out(choice: Choice, deadline_s: float) -> ModelTimeout:
    """The error for a model that took longer than it was given."""
    return ModelTimeout(
        f"model {choice.model!r} took over {deadline_s:g} s. "
        "Try again, or raise agent.model_deadline_s in hub.toml",
        model=choice.model,
    )


def _unreachable(error: BaseException) -> bool:
    """Whether the connection failed, which LiteLLM tells as an internal error of the provider."""
    import httpx

    cause: BaseException | None = error
    # The chain is short; the bound guards against a cycle.
    for _ in range(10):
        if cause is None:
            return False
        if isinstance(cause, httpx.TransportError | ConnectionError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _said(error: Exception, choice: Choice) -> str:
    """The provider's own words: one line, bounded, without anything that looks like a key."""
    text = str(getattr(error, "message", "") or error)
    text = re.sub(r"^(?:litellm\.)?(?:\w+: )*", "", text)
    if choice.api_key:
        text = text.replace(choice.api_key, "[key]")
    text = " ".join(_KEY_LIKE.sub("[key]", text).split())
    return text[:_TEXT_CHARS_MAX] + ("…" if len(text) > _TEXT_CHARS_MAX else "")


def _address(api_base: str) -> str:
    """A URL without user, password and query, which may hold secrets."""
    from urllib.parse import urlsplit

    parts = urlsplit(api_base)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def _retry_after(error: Any) -> float | None:
    response = getattr(error, "response", None)
    header = response.headers.get("retry-after") if response is not None else None
    try:
        return max(0.0, float(header)) if header is not None else None
    except ValueError:
        return None
