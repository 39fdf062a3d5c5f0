"""The HTTP faces: MCP over Streamable HTTP and over SSE, and the plain HTTP API.

`open_gateway` listens; every request passes the guard, and then goes to the face
that its path names.
"""

from hub.gateway.listening import open_gateway

__all__ = ["open_gateway"]
