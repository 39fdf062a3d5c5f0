"""The plain HTTP API: turns of the agent for programs that do not speak MCP.

application   the routes, and how errors are told
bodies        what requests hold, checked
turns         the turns that HTTP clients began, and their bounds
message       `POST /message`
idempotency   the same key gets the same answer
runs          `/runs`: watching, following and stopping
chat          `/v1/chat/completions`, as OpenAI's clients ask
openapi       the document that describes all this
"""

from hub.gateway.api.application import Api
from hub.gateway.api.turns import ApiHub

__all__ = ["Api", "ApiHub"]
