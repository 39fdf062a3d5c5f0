"""One MCP endpoint for every tool, one memory that learns what helped, one agent that any client can call."""

__version__ = "0.1.0"
