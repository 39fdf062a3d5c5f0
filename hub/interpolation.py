"""`${…}` in `mcp.json`: what may stand there, and where its value comes from.

    ${NAME}  ${env:NAME}        a variable of the environment; it must be set
    ${NAME:-default}            the same, or the default where it is unset or empty
    ${userHome}                 the person's home folder
    ${workspaceFolder}          the folder that the file is about
    ${workspaceFolderBasename}  its last part
    ${pathSeparator}            / or \\
    $${                         a literal ${
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from hub.redaction import names_a_secret

_VARIABLE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Unresolved(ValueError):
    """A variable has no value; the message names it and says what to do."""


class Variables:
    """What `${…}` in one file stands for.

    Attributes:
        workspace: The folder that the file is about: its own, or the one above for a
            file in `.vscode` or `.cursor`.
    """

    def __init__(self, file: Path, environ: Mapping[str, str]) -> None:
        folder = file.absolute().parent
        self.workspace = folder.parent if folder.name in (".vscode", ".cursor") else folder
        self._environ = environ
        self._known = {
            "userHome": os.path.expanduser("~"),
            "workspaceFolder": str(self.workspace),
            "workspaceFolderBasename": self.workspace.name,
            "pathSeparator": os.sep,
        }

    def fill(self, text: str, secrets: set[str]) -> str:
        """The text with its variables filled in.

        Args:
            text: What stands in the file.
            secrets: Where to add the values that came from a variable named like a secret.

        Raises:
            Unresolved: a variable is not set, or `${…}` holds something else.
        """

        def value(match: re.Match[str]) -> str:
            if match[1] is None:
                return "${"
            name, has_default, default = match[1].removeprefix("env:").partition(":-")
            if not _NAME.fullmatch(name):
                raise Unresolved(
                    f"${{{match[1]}}} is nothing the hub can fill in: use ${{NAME}} or ${{NAME:-default}}, "
                    "and $${ for a literal ${"
                )
            found = self._known.get(name, self._environ.get(name))
            if has_default and not found:
                return default
            if found is None:
                raise Unresolved(
                    f"${{{name}}} is not set: put {name}=… into .env in the hub's home, "
                    f"or write ${{{name}:-default}}"
                )
            if names_a_secret(name):
                secrets.add(found)
            return found

        return _VARIABLE.sub(value, text)
