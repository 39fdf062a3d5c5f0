"""Which model answers, when the settings leave it open.

In order: the model that is set; a LiteLLM proxy; the first provider whose key stands
in the environment, in the environment's own order, so that whoever writes `.env`
decides; an Ollama on this machine. Never a scripted model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.errors import ModelNotConfigured

PROVIDERS: Mapping[str, str] = {
    "ANTHROPIC_API_KEY": "anthropic/claude-sonnet-5-5",
    "OPENAI_API_KEY": "openai/gpt-5.4-mini",
    "GEMINI_API_KEY": "gemini/gemini-3.8-flash",
    "GOOGLE_API_KEY": "gemini/gemini-3.8-flash",
    "MISTRAL_API_KEY": "mistral/mistral-medium-latest",
    "OPENROUTER_API_KEY": "openrouter/openrouter/auto",
    "GROQ_API_KEY": "groq/openai/gpt-oss-120b",
    "DEEPSEEK_API_KEY": "deepseek/deepseek-chat",
    "XAI_API_KEY": "xai/grok-4.5-latest",
}
"""The model taken for a provider whose key is all we know, by the key's variable."""

_OLLAMA = "http://127.0.0.1:11434"

_WHAT_TO_SET = (
    "no model is set up. Set HUB_MODEL (any LiteLLM name, for example anthropic/claude-sonnet-5-5) "
    "and the provider's key in the `.env` of the home, or start Ollama on this machine. "
    "Every other tool works without a model"
)


@dataclass(frozen=True, slots=True)
class Choice:
    """A model, and how to reach it.

    Attributes:
        model: Its LiteLLM name.
        why: Why this one, for the person who wonders.
        api_base: The base URL of its API; None for the provider's own.
        api_key: The key; None when LiteLLM finds it by itself or none is needed.
    """

    model: str
    why: str
    api_base: str | None = None
    api_key: str | None = field(default=None, repr=False)


def configured(model: str, api_base: str | None, environment: Mapping[str, str]) -> Choice:
    """The choice for a model that somebody named: through the proxy, if there is one and no `api_base`."""
    proxy = environment.get("LITELLM_PROXY_URL")
    if proxy and not api_base:
        name = model if model.startswith("litellm_proxy/") else f"litellm_proxy/{model}"
        return Choice(name, "set, through LITELLM_PROXY_URL", proxy, _proxy_key(environment))
    return Choice(model, "set", api_base, _key_of(model, api_base, environment))


async def choose(
    model: str | None,
    api_base: str | None,
    environment: Mapping[str, str],
    *,
    probe_deadline_s: float = 1.0,
) -> Choice:
    """Decide which model answers.

    Args:
        model: The model that is set, if one is.
        api_base: The base URL that is set, if one is.
        environment: Where keys and `LITELLM_PROXY_URL` stand.
        probe_deadline_s: How long a proxy or an Ollama may take to list its models.

    Raises:
        ModelNotConfigured: There is none; says what to set.
    """
    if model:
        return configured(model, api_base, environment)
    proxy = environment.get("LITELLM_PROXY_URL")
    if proxy:
        headers = {"Authorization": f"Bearer {_proxy_key(environment)}"}
        listed = await _get_json(f"{proxy.rstrip('/')}/v1/models", probe_deadline_s, headers)
        names = [entry["id"] for entry in _entries(listed, "data", "id")]
        if not names:
            raise ModelNotConfigured(
                "the proxy of LITELLM_PROXY_URL did not list a model. Set HUB_MODEL, or check that it runs"
            )
        return Choice(
            f"litellm_proxy/{names[0]}",
            "the first model of LITELLM_PROXY_URL",
            proxy,
            _proxy_key(environment),
        )
    for variable, key in environment.items():
        if variable in PROVIDERS and key:
            return Choice(PROVIDERS[variable], f"{variable} is set", api_base, key)
    host = environment.get("OLLAMA_API_BASE") or environment.get("OLLAMA_HOST") or _OLLAMA
    url = host if "://" in host else f"http://{host}"
    listed = await _get_json(f"{url.rstrip('/')}/api/tags", probe_deadline_s, {})
    for entry in _entries(listed, "models", "name"):
        # Ollama lists embedding models beside chat models, and older ones without capabilities.
        if "completion" in entry.get("capabilities", ["completion"]) and "embed" not in entry["name"]:
            return Choice(f"ollama_chat/{entry['name']}", f"Ollama runs at {url}", url)
    raise ModelNotConfigured(_WHAT_TO_SET)


def _key_of(model: str, api_base: str | None, environment: Mapping[str, str]) -> str | None:
    provider = model.split("/", 1)[0] if "/" in model else ""
    key = environment.get(f"{provider.upper()}_API_KEY") if provider else None
    if key is None and provider == "gemini":
        key = environment.get("GOOGLE_API_KEY")
    if key is None and api_base and provider == "openai":
        # Local servers want no key, OpenAI's client insists on one.
        key = "none"
    return key


def _proxy_key(environment: Mapping[str, str]) -> str:
    return environment.get("LITELLM_PROXY_API_KEY") or environment.get("LITELLM_API_KEY") or "none"


def _entries(listed: Any, member: str, name: str) -> list[dict[str, Any]]:
    """The objects of a list that carry a name, whatever else was sent."""
    entries = listed.get(member) if isinstance(listed, dict) else None
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get(name), str)]


async def _get_json(url: str, deadline_s: float, headers: Mapping[str, str]) -> Any:
    """What a URL answers; None when nobody answers sensibly in time."""
    import asyncio

    import httpx

    try:
        async with asyncio.timeout(deadline_s), httpx.AsyncClient(trust_env=False) as client:
            response = await client.get(url, headers=dict(headers))
            response.raise_for_status()
            return response.json()
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None
