"""The reference server over stdio for 2026-07-28 clients only: `echo.py --era modern` under its own name."""

from __future__ import annotations

import sys

from echo import arguments, build, serve, write_line
from reference import Reference

if __name__ == "__main__":
    serve(build(arguments(__doc__).parse_args(["--era", "modern", *sys.argv[1:]]), Reference, write_line))
