"""The hub as a client: the suite's mock servers behind it, played by `through_hub.py`.

Logins start a hub each and together take minutes, so they run only where `HUB_CONFORMANCE_LOGINS` is set.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.conformance.toolkit import MISSING, run_scenario

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

PLAYER = Path(__file__).with_name("through_hub.py")

PLAIN = [
    ("2025-11-25", "initialize"),
    ("2025-11-25", "tools_call"),
    ("2025-11-25", "elicitation-sep1034-client-defaults"),
    ("2025-11-25", "sse-retry"),
    ("2026-07-28", "tools_call"),
    ("2026-07-28", "request-metadata"),
    ("2026-07-28", "sep-2322-client-request-state"),
    ("2026-07-28", "http-standard-headers"),
    ("2026-07-28", "http-custom-headers"),
    ("2026-07-28", "http-invalid-tool-headers"),
    ("2026-07-28", "json-schema-ref-no-deref"),
]

LOGINS = [
    *(
        (revision, f"auth/{name}")
        for revision in ("2025-11-25", "2026-07-28")
        for name in (
            "metadata-default",
            "metadata-var1",
            "metadata-var2",
            "metadata-var3",
            "basic-cimd",
            "scope-from-www-authenticate",
            "scope-from-scopes-supported",
            "scope-omitted-when-undefined",
            "scope-step-up",
            "scope-retry-limit",
            "token-endpoint-auth-basic",
            "token-endpoint-auth-post",
            "token-endpoint-auth-none",
            "pre-registration",
        )
    ),
    *(
        ("2026-07-28", f"auth/{name}")
        for name in (
            "resource-mismatch",
            "offline-access-scope",
            "offline-access-not-supported",
            "authorization-server-migration",
            "iss-supported",
            "iss-not-advertised",
            "iss-supported-missing",
            "iss-wrong-issuer",
            "iss-unexpected",
            "iss-normalized",
            "metadata-issuer-mismatch",
        )
    ),
]


def found_wrong(folder: Path, revision: str, scenario: str) -> list[str]:
    """What the suite finds wrong when the hub plays a scenario."""
    player = f"{sys.executable} {PLAYER}"
    checks = run_scenario(folder, "client", revision, scenario, "--command", player)
    assert any(check["status"] == "SUCCESS" for check in checks), checks
    return [
        f"{check['id']}: {check.get('errorMessage') or check['description']}"
        for check in checks
        if check["status"] == "FAILURE"
    ]


@pytest.mark.parametrize(("revision", "scenario"), PLAIN)
def test_the_suite_finds_nothing_wrong_with_the_hub_as_a_client(
    tmp_path: Path, revision: str, scenario: str
) -> None:
    assert found_wrong(tmp_path, revision, scenario) == []


@pytest.mark.skipif("HUB_CONFORMANCE_LOGINS" not in os.environ, reason="HUB_CONFORMANCE_LOGINS is not set")
@pytest.mark.parametrize(("revision", "scenario"), LOGINS)
def test_the_suite_finds_nothing_wrong_with_a_login(tmp_path: Path, revision: str, scenario: str) -> None:
    assert found_wrong(tmp_path, revision, scenario) == []
