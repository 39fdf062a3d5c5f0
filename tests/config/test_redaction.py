"""What counts as a secret."""

from __future__ import annotations

import time

import pytest

from hub.redaction import Redactor, bare_url, hide_shapes, names_a_secret


@pytest.mark.parametrize(
    "name",
    [
        "OPENAI_API_KEY",
        "GITHUB_TOKEN",
        "X-Api-Key",
        "apiKey",
        "Authorization",
        "DB_PASSWORD",
        "accessToken",
        "GH_PAT",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize("name", ["PATH", "HOME", "keyboard", "author", "session_id", "PATTERN", "monkey"])
def test_names_that_only_look_like_it(name: str) -> None:
    assert not names_a_secret(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abcdefghij", "Authorization: Bearer ***"),
        ("Basic dXNlcjpwYXNzd29yZA12", "Basic ***"),
        (
            "the basic configuration is a token refresh away",
            "the basic configuration is a token refresh away",
        ),
        ("key sk-proj-abcdefghijklmnop", "key ***"),
        ("risk-assessment-of-the-situation", "risk-assessment-of-the-situation"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ", "***"),
        ("postgres://me:secret@host/db", "postgres://***@host/db"),
        ("http://h/x?a=1&access_token=abc&b=2", "http://h/x?a=1&access_token=***&b=2"),
        ("a person@example.com writes", "a person@example.com writes"),
    ],
)
def test_shapes_of_secrets(text: str, shown: str) -> None:
    assert hide_shapes(text) == shown


def test_a_secret_that_holds_another_leaves_no_rest() -> None:
    redactor = Redactor()
    redactor.hide(["abcdef", "abcdef-and-more", "short"])
    assert redactor("abcdef-and-more abcdef short") == "*** *** short"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@h:1/x?a=b#c", "https://h:1/x?***"),
        ("http://[::1]:80/", "http://[::1]:80/"),
        ("http://h:bad/", "***"),
    ],
)
def test_a_bare_url_has_no_room_for_a_secret(url: str, shown: str) -> None:
    assert bare_url(url) == shown


@pytest.mark.parametrize(
    "part", ["a-", "http://", "?a_key", "eyJ-", "-eyJaaaaaaaaa", "sk-", "Bearer ", "token a", "x."]
)
def test_no_text_makes_it_slow(part: str) -> None:
    started = time.process_time()
    hide_shapes(part * (100_000 // len(part)))
    assert time.process_time() - started < 2
