"""Downstream servers: every entry of `mcp.json`, connected, supervised, forwarded to.

`DownstreamServer` supervises one of them. Beneath it, a `Session` is one open
conversation, a link is what carries it (pipes to a child process, or HTTP), and
`handshake` finds out which protocol era the server speaks.
"""
