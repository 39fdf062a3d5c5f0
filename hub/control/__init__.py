"""The command line's face: private methods on the hub's local socket.

A connection whose hello said `control` speaks JSON-RPC with the methods of this
package. They are no part of MCP and change with any version: whoever connects is
of the same installation.

    hub/status   hub/stop
    hub/tools.list | show | search | call      a call reports `notifications/progress`
    hub/servers.list | test | logout | changes | approve
    hub/servers.login                          reports where to go as `hub/event`
    hub/memory.store | recall | feedback | forget | list | stats
    hub/sessions.list | show | delete
    hub/traces.list | show | search | export   an export comes in parts
    hub/run_turn                               reports each step as `hub/event`
    hub/serve                                  opens the HTTP faces while the connection lives

What is heavy, the memory and the agent, is opened by the first method that needs it.
"""

from hub.control.methods import ControlConnection, RunningHub, open_channel

__all__ = ["ControlConnection", "RunningHub", "open_channel"]
