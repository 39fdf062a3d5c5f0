"""The `web` skill against HTTP servers on loopback: what it fetches, and where it will not go."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hub.skills import shipped_folder

WEB = shipped_folder() / "web"
BYTES_MAX = 200_000

Answer = tuple[int, dict[str, str], bytes]


class Site:
    """An HTTP server whose pages a test sets; it keeps what it was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, Callable[[BaseHTTPRequestHandler], Answer | None]] = {}
        self.asked: list[tuple[str, str]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.headers["host"], self.path))
                page = site.pages.get(self.path.partition("?")[0])
                answer = page(self) if page else (404, {}, b"gone")
                if answer is None:
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def page(
        self, path: str, body: bytes | str, content_type: str | None = "text/html", **headers: str
    ) -> str:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            sent["content-type"] = content_type
        self.pages[path] = lambda _: (200, sent, body if isinstance(body, bytes) else body.encode())
        return self.url + path

    def redirect(self, path: str, to: str, status: int = 302) -> str:
        self.pages[path] = lambda _: (status, {"location": to}, b"")
        return self.url + path

    @contextmanager
    def serving(self) -> Iterator[Site]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join(10)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site().serving() as site:
        yield site


@pytest.fixture(scope="module")
def web(start_worker: Callable[..., Any]) -> Iterator[Any]:
    """A worker that may reach loopback, as far as most tests need it to."""
    env = {
        "HUB_SKILLS__WEB_PRIVATE_ADDRESSES": "true",
        "HUB_SKILLS__WEB_BYTES_MAX": str(BYTES_MAX),
        "HUB_SKILLS__WEB_DEADLINE_S": "2",
    }
    with start_worker(WEB, env=env).running() as worker:
        yield worker


@pytest.fixture(scope="module")
def careful(start_worker: Callable[..., Any]) -> Iterator[Any]:
    """A worker as it is by default: no private addresses."""
    with start_worker(WEB, env={}).running() as worker:
        yield worker


def test_a_page_becomes_markdown_with_absolute_links_and_without_scripts(web: Any, site: Site) -> None:
    url = site.page(
        "/docs/page.html",
        """<html><head><title>The  title</title><style>p {}</style></head><body><nav>Menu</nav>
        <main><h1>Heading</h1><p>Some <b>bold</b> text with <a href="../other#part">a link</a>.</p>
        <script>alert(1)</script>
        <img src="data:image/png;base64,AAAA" alt="dot"><img src="/pic.png" alt="pic">
        <pre><code class="language-python">print(1)</code></pre>
        <table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table></main></body></html>""",
    )
    page = web.call("web.fetch", url=url)
    assert page["title"] == "The title"
    assert page["text"].startswith(
        "# Heading\n\nSome **bold** text with [a link](" + site.url + "/other#part)."
    )
    assert f"![pic]({site.url}/pic.png)" in page["text"]
    assert "```python\nprint(1)" in page["text"]
    assert "| 1 | 2 |" in page["text"]
    assert not any(word in page["text"] for word in ("alert", "Menu", "base64", "p {}"))


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (b'{"a":  1}', "application/json", '{"a":  1}'),
        (b'{"a":  1}', "application/problem+json", '{"a":  1}'),
        (b"# not <b>touched</b>", "text/markdown; charset=utf-8", "# not <b>touched</b>"),
        ("Grüße".encode("latin-1"), "text/plain; charset=ISO-8859-1", "Grüße"),
        ("Grüße".encode("cp1252"), "text/plain", "Grüße"),
        ("Grüß".encode("cp1252"), "text/plain", "Grüß"),
        ("Grüße".encode(), "text/plain; charset=nonsense", "Grüße"),
        ("<p>Grüße</p>".encode("latin-1"), "text/html; charset=iso-8859-1", "Grüße"),
        ("<meta charset='windows-1251'><p>Привет</p>".encode("cp1251"), "text/html", "Привет"),
        (b"<!DOCTYPE html><p>untold</p>", None, "untold"),
        (b"plain, untold", None, "plain, untold"),
        (b"", "text/html", ""),
    ],
)
def test_text_comes_as_it_is_in_whatever_charset(
    web: Any, site: Site, body: bytes, content_type: str | None, text: str
) -> None:
    assert web.call("web.fetch", url=site.page("/text", body, content_type))["text"] == text


@pytest.mark.parametrize("content_type", ["image/png", "application/pdf", "application/octet-stream"])
def test_what_is_no_text_is_refused_by_its_type(web: Any, site: Site, content_type: str) -> None:
    url = site.page("/binary", b"\x89PNG\0\0\0", content_type)
    assert content_type in web.refused("web.fetch", url=url)


def test_a_long_page_is_read_in_pieces_from_one_download(web: Any, site: Site) -> None:
    url = site.page("/long", "0123456789" * 10, "text/plain")
    first = web.call("web.fetch", url=url, limit=60)
    site.page("/long", "changed since", "text/plain")
    second = web.call("web.fetch", url=url, limit=60, offset=first["next_offset"])
    assert first["text"] + second["text"] == "0123456789" * 10
    assert (first["total"], second["next_offset"]) == (100, None)
    assert web.call("web.fetch", url=url)["text"] == "changed since"


def test_redirects_are_followed_and_the_last_address_is_told(web: Any, site: Site) -> None:
    site.page("/end", "arrived", "text/plain")
    site.redirect("/middle", "end?x=1", 307)
    page = web.call("web.fetch", url=site.redirect("/start", "/middle", 301) + "#part")
    assert (page["text"], page["url"]) == ("arrived", site.url + "/end?x=1")


def test_redirects_in_a_circle_and_to_other_schemes_end_in_an_error(web: Any, site: Site) -> None:
    assert "redirects more than" in web.refused("web.fetch", url=site.redirect("/circle", "/circle"))
    for target in ("file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/"):
        assert "must begin with http" in web.refused("web.fetch", url=site.redirect("/away", target))
    assert "password" in web.refused("web.fetch", url=site.redirect("/away", "http://u:p@127.0.0.1/"))


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_pages_are_unpacked(web: Any, site: Site, encoding: str) -> None:
    body = gzip.compress(b"packed") if encoding == "gzip" else zlib.compress(b"packed")
    url = site.page("/packed", body, "text/plain", content_encoding=encoding)
    assert web.call("web.fetch", url=url)["text"] == "packed"


def test_a_page_over_the_size_limit_is_cut_and_says_so(web: Any, site: Site) -> None:
    page = web.call("web.fetch", url=site.page("/big", "é" * BYTES_MAX, "text/plain"), limit=200_000)
    assert (page["truncated"], page["total"]) == (True, BYTES_MAX // 2)


def test_a_few_bytes_that_unpack_to_gigabytes_are_cut_at_the_limit(web: Any, site: Site) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = packer.compress(b"\0" * 50_000_000) + packer.flush()
    bomb = bomb[:5] + bomb[5:]
    url = site.page("/bomb", bomb, "text/plain", content_encoding="gzip")
    began = time.monotonic()
    page = web.call("web.fetch", url=url, limit=10)
    assert (page["truncated"], page["total"]) == (True, BYTES_MAX)
    assert time.monotonic() - began < 2


def test_damaged_and_unknown_compression_are_named(web: Any, site: Site) -> None:
    assert "damaged" in web.refused(
        "web.fetch", url=site.page("/bad", b"not gzip", "text/plain", content_encoding="gzip")
    )
    assert "'br'" in web.refused("web.fetch", url=site.page("/br", b"x", "text/plain", content_encoding="br"))


def test_a_page_of_ten_thousand_nested_elements_still_gives_its_words(web: Any, site: Site) -> None:
    url = site.page("/nested", "<div>" * 10_000 + "the words" + "</div>" * 10_000)
    assert "the words" in web.call("web.fetch", url=url)["text"]


def test_a_page_that_takes_for_ever_to_parse_gives_its_words_at_the_deadline(web: Any, site: Site) -> None:
    evil = "<p>Some <b>words</b> &amp; more</p><script>hidden</script>" + "<!--" * 45_000
    began = time.monotonic()
    reading = web.start("web.fetch", url=site.page("/evil", evil))
    assert web.call("web.fetch", url=site.page("/quick", "quick", "text/plain"))["text"] == "quick"
    assert not reading.done()
    assert reading.result(20).structured_content["text"] == "Some words & more"
    assert time.monotonic() - began < 6


def test_a_server_that_never_answers_is_given_up_at_the_deadline_and_others_are_served_meanwhile(
    web: Any, site: Site
) -> None:
    release = threading.Event()

    def stall(_: BaseHTTPRequestHandler) -> None:
        release.wait(20)

    site.pages["/stall"] = stall
    began = time.monotonic()
    stalled = web.start("web.fetch", url=site.url + "/stall")
    assert web.call("web.fetch", url=site.page("/quick", "quick", "text/plain"))["text"] == "quick"
    assert not stalled.done()
    result = stalled.result(20)
    release.set()
    assert result.is_error
    assert "web_deadline_s" in result.content[0].text
    assert 1.5 < time.monotonic() - began < 10


def test_a_page_that_trickles_is_given_up_at_the_deadline(web: Any, site: Site) -> None:
    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(100):
                handler.wfile.write(b"drip ")
                handler.wfile.flush()
                time.sleep(0.1)
        except OSError:
            pass

    site.pages["/trickle"] = trickle
    assert "web_deadline_s" in web.refused("web.fetch", url=site.url + "/trickle")


def test_errors_of_the_server_and_of_the_network_say_what_happened(web: Any, site: Site) -> None:
    assert "404" in web.refused("web.fetch", url=site.url + "/nosuch")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert "could not be reached" in web.refused("web.fetch", url=f"http://127.0.0.1:{port}/")
    assert "not known" in web.refused("web.fetch", url="http://no-such-host.invalid/")


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://example.com/", "example.com", "", "http://", "http://user:pw@example.com/",
     "http://[::1", "http://0177.0.0.1/", "http://example.com:99999/", "javascript:alert(1)"],
)  # fmt: skip
def test_what_is_no_web_address_is_refused(web: Any, url: str) -> None:
    message = web.refused("web.fetch", url=url)
    assert "Error calling tool" not in message


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "0.0.0.0", "[::1]", "[::]",
     "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"],
)  # fmt: skip
def test_this_machine_is_not_reached_however_it_is_spelled(careful: Any, site: Site, host: str) -> None:
    asked = len(site.asked)
    message = careful.refused("web.fetch", url=f"http://{host}:{site.port}/")
    assert "private network" in message
    assert "web_private_hosts" in message
    assert len(site.asked) == asked


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "[fe80::1]", "[fd00::1]",
     "[fec0::1]", "224.0.0.1", "255.255.255.255", "[ff02::1]", "192.0.2.1", "198.18.0.1", "240.0.0.1"],
)  # fmt: skip
def test_no_private_or_special_network_is_reached(careful: Any, host: str) -> None:
    assert "private network" in careful.refused("web.fetch", url=f"http://{host}/")


def test_a_redirect_is_checked_like_the_first_address(start_worker: Callable[..., Any], site: Site) -> None:
    """Only the name `localhost` is allowed here, so that one hop is and the next is not."""
    url = site.page("/allowed", "seen", "text/plain").replace("127.0.0.1", "localhost")
    onward = site.redirect("/onward", "/allowed").replace("127.0.0.1", "localhost")
    inward = site.redirect("/inward", site.url + "/allowed").replace("127.0.0.1", "localhost")
    with start_worker(WEB, env={"HUB_SKILLS__WEB_PRIVATE_HOSTS": '["localhost"]'}).running() as worker:
        assert worker.call("web.fetch", url=url)["text"] == "seen"
        assert worker.call("web.fetch", url=onward)["text"] == "seen"
        asked = len(site.asked)
        assert "private network" in worker.refused("web.fetch", url=inward)
        assert site.asked[asked:] == [(f"localhost:{site.port}", "/inward")]


def test_the_worker_says_for_each_tool_what_it_may_do(careful: Any) -> None:
    (tool,) = careful.tools()
    assert tool.name == "web.fetch"
    assert tool.annotations.read_only_hint is True
    assert tool.annotations.open_world_hint is True
    assert json.dumps(tool.output_schema)


def test_a_certificate_is_checked_against_the_name_and_not_the_address(
    start_worker: Callable[..., Any], tmp_path: Path
) -> None:
    authority, context = _certificate_for_localhost(tmp_path)
    site = Site()
    site.page("/secure", "over TLS", "text/plain")
    site._server.socket = context.wrap_socket(site._server.socket, server_side=True)
    env = {"HUB_SKILLS__WEB_PRIVATE_ADDRESSES": "true"}
    with site.serving():
        with start_worker(WEB, env={**env, "SSL_CERT_FILE": str(authority)}).running() as worker:
            assert worker.call("web.fetch", url=f"https://localhost:{site.port}/secure")["text"] == "over TLS"
            assert "certificate" in worker.refused("web.fetch", url=f"https://127.0.0.1:{site.port}/secure")
        with start_worker(WEB, env=env).running() as worker:
            assert "certificate" in worker.refused("web.fetch", url=f"https://localhost:{site.port}/secure")


def _certificate_for_localhost(folder: Path) -> tuple[Path, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "localhost.pem"
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return file, context
