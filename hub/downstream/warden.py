"""The warden: a small process that outlives the hub by seconds, to end its children.

A hub that is killed outright cannot stop the servers it started. The warden holds
the other end of a pipe: while the hub lives, it is told the process group of every
child that starts and ends; when the pipe breaks, it ends the groups that are left.

Standard library only, and run as a script in isolated mode, so that it is small
and quick to start.
"""

import os
import signal
import sys
import time

GRACE_S = 2.0
"""How long a group may take to end by itself before it is killed."""


def _signal(group: int, number: int) -> bool:
    """Send a signal to a process group; returns whether the group was still there."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def end_groups(groups: set[int], grace_s: float = GRACE_S) -> None:
    """Ask process groups to end, and kill those that do not within the grace."""
    left = {group for group in groups if _signal(group, signal.SIGTERM)}
    deadline = time.monotonic() + grace_s
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = {group for group in left if _signal(group, 0)}
    for group in left:
        _signal(group, signal.SIGKILL)


def main() -> None:
    """Read `+group` and `-group` lines until the hub is gone, then end what is left."""
    groups: set[int] = set()
    for line in sys.stdin:
        sign, number = line[0], int(line[1:])
        if sign == "+":
            groups.add(number)
        else:
            groups.discard(number)
    # A child that ends with its input gets the chance to do so by itself.
    deadline = time.monotonic() + 0.5
    while groups and time.monotonic() < deadline:
        time.sleep(0.02)
        groups = {group for group in groups if _signal(group, 0)}
    end_groups(groups)


if __name__ == "__main__":
    main()
