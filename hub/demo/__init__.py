"""`hub demo`: the hub at work, offline, in a folder that is gone afterwards.

The tour is an ordinary MCP client, on the official SDK, in front of an ordinary hub:
it launches `hub mcp`, and everything it shows came back over that connection. Only
the model is a stand-in, a script behind a real HTTP endpoint, and says so.

    tour     the steps, in order
    story    what they are about: what is remembered, what is asked, what the model does
    stage    the home, the model and the connection, and clearing them away
    page     how the steps look
"""
