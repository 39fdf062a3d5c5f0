"""LiteLLM, asked for one answer at a time.

Every attempt streams when the model can, so that text is passed on as it comes and a
cancelled turn closes the connection. Failures that may pass are tried again, then the
fallbacks in their order, all within one deadline.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from hub.calls import Json
from hub.llm.answer import Answer, Finish, ToolRequest, Usage
from hub.llm.chat_form import assistant_message, function, sendable
from hub.llm.choice import Choice, choose, configured
from hub.llm.failures import Failure, NoAnswer, failure, timed_out
from hub.llm.names import NameMap

if TYPE_CHECKING:
    from types import ModuleType

log = logging.getLogger(__name__)

_BACKOFF_FIRST_S = 0.5
_BACKOFF_MAX_S = 8.0

_FAMILIES: Mapping[str, tuple[str, ...]] = {
    "bedrock": ("AWS_",),
    "sagemaker": ("AWS_",),
    "vertex_ai": ("VERTEXAI_", "VERTEX_", "GOOGLE_"),
    "gemini": ("GEMINI_", "GOOGLE_"),
}
"""The variables of providers that do not name them after themselves."""


class LiteLLM:
    """Any model that LiteLLM reaches.

    Args:
        model: The LiteLLM name that is set; None lets `choose` decide.
        api_base: The base URL of a proxy or local server.
        environment: Gives the variables of now, among them providers' keys; `HUB_MODEL` and `HUB_API_BASE`
            in it go before what is set. LiteLLM sees those of the providers it is asked for.
        fallbacks: Models to ask, in order, when the first cannot answer.
        retries_max: How often one model is asked again after a failure that may pass.
        rng: Spreads the waits between retries.
        stream: Whether to stream; some old local servers cannot.
        ollama_tokens_max: How many tokens an Ollama reads; it must be told.
    """

    def __init__(
        self,
        model: str | None,
        api_base: str | None,
        environment: Callable[[], Mapping[str, str]],
        *,
        fallbacks: Sequence[str] = (),
        retries_max: int = 2,
        rng: random.Random | None = None,
        stream: bool = True,
        ollama_tokens_max: int = 16_384,
    ) -> None:
        self._model = model
        self._api_base = api_base
        self._environment = environment
        self._chosen_in: Mapping[str, str] | None = None
        self._fallbacks = tuple(fallbacks)
        self._retries_max = retries_max
        self._rng = rng or random.Random()
        self._stream = stream
        self._ollama_tokens_max = ollama_tokens_max
        self._choice: Choice | None = None
        self._loading: asyncio.Task[ModuleType] | None = None

    async def choice(self) -> Choice:
        """The model that will be asked first.

        Raises:
            ModelNotConfigured: There is none; says what to set.
        """
        environment = dict(self._environment())
        if self._choice is None or environment != self._chosen_in:
            self._choice = await choose(
                environment.get("HUB_MODEL") or self._model,
                environment.get("HUB_API_BASE") or self._api_base,
                environment,
            )
            self._chosen_in = environment
        return self._choice

    async def answer(
        self,
        messages: Sequence[Json],
        tools: Sequence[Json] = (),
        *,
        deadline_s: float,
        may_call_tools: bool = True,
        on_text: Callable[[str], None] | None = None,
        on_restart: Callable[[str], None] | None = None,
        temperature: float | None = None,
        tokens_max: int | None = None,
        response_format: Json | None = None,
    ) -> Answer:
        """Ask for one answer.

        Args:
            messages: The conversation in OpenAI's chat form, tools under public names.
            tools: MCP tool definitions under public names.
            deadline_s: How long it may take, retries, fallbacks and the first import included.
            may_call_tools: False shows the tools, which keeps a provider's cache warm, and forbids them.
            on_text: Hears each piece of text as it comes.
            on_restart: Hears why, when pieces heard so far are void because the answer starts anew.
            temperature: Passed on when set.
            tokens_max: How many tokens the answer may have.
            response_format: OpenAI's `response_format`, for structured output.

        Raises:
            ModelNotConfigured: There is no model; says what to set.
            ModelTimeout: The deadline passed.
            ModelError: Every model failed; tells of the first one that is set.
        """
        first = await self.choice()
        names = NameMap(
            [tool["name"] for tool in tools]
            + [call["function"]["name"] for message in messages for call in message.get("tool_calls") or ()]
        )
        request: Json = {"messages": [sendable(names.to_wire(message)) for message in messages]}
        if tools:
            request["tools"] = [function(tool, names) for tool in tools]
            request["tool_choice"] = "auto" if may_call_tools else "none"
        options = {
            "temperature": temperature,
            "max_tokens": tokens_max,
            "response_format": response_format,
        }
        request |= {key: value for key, value in options.items() if value is not None}
        heard = _Hearing(on_text, on_restart)
        asked = first
        try:
            async with asyncio.timeout(deadline_s):
                await self._loaded()
                failures: list[Failure] = []
                for asked in self._choices(first):
                    answer = await self._ask_patiently(asked, request, names, heard, deadline_s, failures)
                    if answer is not None:
                        return answer
        except TimeoutError:
            raise timed_out(asked, deadline_s) from None
        if first.why != "set":
            # What was found may be gone (Ollama stopped, a key withdrawn); look again next time.
            self._choice = None
        told = failures[0].error
        if len(failures) > 1 and self._fallbacks:
            told = type(told)(f"{told.message}. Its fallbacks failed too: {failures[-1].error.message}")
        raise told

    async def context_tokens_max(self) -> int | None:
        """How many tokens the model that is asked first reads at most; None when LiteLLM does not know."""
        await self._loaded()
        model = (await self.choice()).model
        if model.startswith(("ollama/", "ollama_chat/")):
            return self._ollama_tokens_max
        listed = self._listed(model)
        limit = listed.get("max_input_tokens") if listed else None
        return limit if isinstance(limit, int) else None

    async def count_tokens(self, messages: Sequence[Json], tools: Sequence[Json] = ()) -> int:
        """How many tokens a prompt has, by the tokenizer that LiteLLM has for the model."""
        litellm = await self._loaded()
        model = (await self.choice()).model
        names = NameMap(tool["name"] for tool in tools)
        functions = [function(tool, names) for tool in tools]
        count = await asyncio.to_thread(
            litellm.token_counter, model=model, messages=list(messages), tools=functions or None
        )
        return int(count)

    async def close(self) -> None:
        """Close LiteLLM's connections."""
        if self._loading is None:
            return
        loading, self._loading = self._loading, None
        litellm = await loading
        await litellm.close_litellm_async_clients()

    def _choices(self, first: Choice) -> list[Choice]:
        environment = self._environment()
        api_base = environment.get("HUB_API_BASE") or self._api_base
        return [first, *(configured(name, api_base, environment) for name in self._fallbacks)]

    async def _ask_patiently(
        self,
        choice: Choice,
        request: Json,
        names: NameMap,
        heard: _Hearing,
        deadline_s: float,
        failures: list[Failure],
    ) -> Answer | None:
        """Ask one model, again after failures that may pass; None, and why in `failures`, when it cannot."""
        import openai

        for attempt in range(self._retries_max + 1):
            try:
                return await self._ask(choice, request, names, heard, deadline_s)
            except (openai.OpenAIError, NoAnswer) as error:
                failed = failure(error, choice, begun=heard.begun)
            heard.restart(failed.error.message)
            log.warning(
                "model failed",
                extra={"model": choice.model, "attempt": attempt + 1, "error": failed.error.message},
            )
            if not failed.transient or attempt == self._retries_max:
                failures.append(failed)
                break
            backoff = min(_BACKOFF_FIRST_S * 2**attempt, _BACKOFF_MAX_S) * self._rng.uniform(0.5, 1.0)
            if failed.retry_after_s is not None and failed.retry_after_s > _BACKOFF_MAX_S:
                # Longer than a person waits: better a fallback or a clear error now.
                failures.append(failed)
                break
            await asyncio.sleep(max(backoff, failed.retry_after_s or 0.0))
        return None

    async def _ask(
        self, choice: Choice, request: Json, names: NameMap, heard: _Hearing, deadline_s: float
    ) -> Answer:
        litellm = await self._loaded()
        provider = litellm.get_llm_provider(choice.model, api_base=choice.api_base)[1]
        self._lend_environment(provider)
        arguments: Json = {
            **request,
            "model": choice.model,
            "timeout": deadline_s,
            "max_retries": 0,
            "drop_params": True,
        }
        if choice.api_base:
            arguments["api_base"] = choice.api_base
        if choice.api_key:
            arguments["api_key"] = choice.api_key
        if provider in ("ollama", "ollama_chat"):
            self._prepare_ollama(choice, arguments, litellm)
        if provider == "anthropic":
            # Anthropic caches what it is told to: tools and system prompt, and this turn's rounds so far.
            arguments["cache_control_injection_points"] = [
                {"location": "message", "role": "system"},
                {"location": "message", "index": -1},
            ]
        # LiteLLM only pretends to stream OpenAI's responses API for models it does not list, and
        # repeats tool arguments while it does.
        if not self._stream or "/responses/" in choice.model:
            response = await litellm.acompletion(**arguments)
        else:
            arguments |= {"stream": True, "stream_options": {"include_usage": True}}
            response = await self._follow(await litellm.acompletion(**arguments), request, heard)
        return self._answer(response, choice, names)

    def _prepare_ollama(self, choice: Choice, arguments: Json, litellm: ModuleType) -> None:
        # Its own default is a few thousand tokens, and it forgets the beginning of longer prompts in silence.
        arguments["num_ctx"] = self._ollama_tokens_max
        # LiteLLM would ask Ollama for what it does not list, with a blocking request on this loop.
        litellm.model_cost.setdefault(
            choice.model,
            {
                "litellm_provider": "ollama_chat",
                "mode": "chat",
                "max_input_tokens": self._ollama_tokens_max,
                "input_cost_per_token": 0.0,
                "output_cost_per_token": 0.0,
            },
        )
        if arguments.get("tool_choice") == "none":
            # Ollama knows no tool_choice: what it is shown, it calls.
            del arguments["tools"], arguments["tool_choice"]

    async def _follow(self, stream: Any, request: Json, heard: _Hearing) -> Any:
        """Pass a stream on as it comes, and put it together.

        Raises:
            NoAnswer: It ended without a reason to end.
        """
        litellm = await self._loaded()
        chunks = []
        try:
            async for chunk in stream:
                chunks.append(chunk)
                if chunk.choices and (text := chunk.choices[0].delta.content):
                    heard.text(text)
                if getattr(chunk, "usage", None) is not None and _ended(stream):
                    # The usage comes last. What LiteLLM does beyond it is accounting for nobody:
                    # half of what a call costs, and for Ollama a request that blocks this loop.
                    break
        finally:
            # Also when cancelled: this is what stops the model.
            await stream.aclose()
        if not chunks or not _ended(stream):
            raise NoAnswer
        return litellm.stream_chunk_builder(chunks, messages=request["messages"])

    def _answer(self, response: Any, choice: Choice, names: NameMap) -> Answer:
        if not getattr(response, "choices", None):
            raise NoAnswer
        first = response.choices[0]
        message = names.to_public(assistant_message(first.message))
        requests = tuple(
            ToolRequest(call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls", ())
        )
        return Answer(
            message=message,
            text=message["content"] or "",
            tool_requests=requests,
            finish=cast("Finish", first.finish_reason if not requests else "tool_calls"),
            usage=self._usage(response, choice),
            model=choice.model,
        )

    def _usage(self, response: Any, choice: Choice) -> Usage:
        usage = getattr(response, "usage", None)
        if usage is None:
            return Usage(cost_usd=None)
        details = getattr(usage, "prompt_tokens_details", None)
        cost: float | None = None
        listed = self._listed(choice.model)
        if listed:
            assert self._loading is not None
            cost = self._loading.result().completion_cost(completion_response=response, model=choice.model)
        return Usage(
            usage.prompt_tokens or 0,
            usage.completion_tokens or 0,
            getattr(details, "cached_tokens", None) or 0,
            cost,
        )

    def _listed(self, model: str) -> Json | None:
        """LiteLLM's entry for a model in its list of limits and prices."""
        if self._loading is None or not self._loading.done():
            return None
        listed = self._loading.result().model_cost
        entry = listed.get(model) or listed.get(model.split("/", 1)[-1])
        return cast("Json | None", entry)

    async def _loaded(self) -> ModuleType:
        """LiteLLM, imported in a thread at first use: it takes seconds."""
        if self._loading is None:
            self._loading = asyncio.ensure_future(asyncio.to_thread(_load))
        # Shielded: a caller who gives up must not stop the import for the others.
        return await asyncio.shield(self._loading)

    def _lend_environment(self, provider: str) -> None:
        """Put the provider's variables where LiteLLM looks for them: the process's environment.

        Most keys are passed as an argument, but regions, projects and accounts are not.
        Children of the hub get a clean environment, so this goes no further.
        """
        prefixes = _FAMILIES.get(provider, (f"{provider.upper()}_",))
        for variable, value in self._environment().items():
            if variable.startswith(prefixes):
                os.environ[variable] = value


class _Hearing:
    """Who hears the text of an answer while it comes."""

    def __init__(
        self, on_text: Callable[[str], None] | None, on_restart: Callable[[str], None] | None
    ) -> None:
        self._on_text = on_text
        self._on_restart = on_restart
        self.begun = False

    def text(self, text: str) -> None:
        self.begun = True
        if self._on_text is not None:
            self._on_text(text)

    def restart(self, why: str) -> None:
        if self.begun and self._on_restart is not None:
            self._on_restart(why)
        self.begun = False


def _load() -> ModuleType:
    # Without this LiteLLM fetches a price list from the network while it is imported.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.suppress_debug_info = True
    # Its own handler writes to stderr, past the hub's log.
    logger = logging.getLogger("LiteLLM")
    logger.handlers.clear()
    logger.setLevel(logging.ERROR)
    return litellm


def _ended(stream: Any) -> bool:
    """Whether the model said that it was done; LiteLLM makes up a last chunk that says so in any case."""
    return stream.received_finish_reason is not None or stream.intermittent_finish_reason is not None
