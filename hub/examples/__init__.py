"""Small MCP servers that come with the hub: for the demo, the documentation and the tests.

Each is an ordinary server on stdio, written with the official SDK, and is meant to
be read: annotations that tell the truth, typed results, errors that say what to do.
"""
