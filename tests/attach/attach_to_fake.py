"""`hub mcp` as it is, except that it starts the fake hub: `attach_to_fake.py HOME [FAKE HUB'S OPTIONS]`."""

from __future__ import annotations

import sys
from pathlib import Path

from hub.attach.relay import Client, Relay
from hub.home import Home
from hub.rendezvous import Hello
from hub.starting import reach

FAKE_HUB = Path(__file__).with_name("fake_hub.py")

home = Home.at(sys.argv[1])
command = [sys.executable, str(FAKE_HUB), "--home", str(home.root), *sys.argv[2:]]
Relay(Client(), lambda: reach(home, Hello("mcp", cwd=str(Path.cwd()), replaces=True), command)).run()
