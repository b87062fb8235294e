"""An S3 server on this machine, and a proxy before it that delays or refuses requests, or loses their answers."""

from __future__ import annotations

import http.client
import os
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import urlsplit

FAULTS = ("slow", "busy", "refused", "lost")
"""Answered late; 503 SlowDown; the connection closed before the request arrives; closed instead of the answer."""
SECRET = "wJalrXUtnFEMI-very-secret"
SLOW_SECONDS = 0.3


@contextmanager
def s3_server() -> Iterator[str]:
    """Run a server with the bucket "sweeps"; yields its address."""
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.05)
        request(f"http://127.0.0.1:{port}", "PUT", "/sweeps")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def environment(endpoint: str) -> dict[str, str]:
    """Return what a process needs to use a server."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def full_environment(endpoint: str) -> dict[str, str]:
    return {**os.environ, **environment(endpoint)}


def request(endpoint: str, method: str, path: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=30)
    with closing(connection):
        connection.request(method, path)
        return connection.getresponse().status


@dataclass
class Proxy:
    """A proxy before a server.

    Attributes:
        endpoint: its address.
        shares: what share of requests meets with each of `FAULTS`.
        counts: number of requests that reached the server, by method.
        faults: number of faults so far, by name.
        keys: for each request that reached the server, its method and path.
    """

    upstream: str
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    shares: dict[str, float] = field(default_factory=dict)
    endpoint: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    keys: list[tuple[str, str]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def draw(self) -> str:
        """Return the fault of the next request, or ""."""
        with self.lock:
            value = self.rng.random()
            for name, share in self.shares.items():
                if value < share:
                    self.faults[name] += 1
                    return name
                value -= share
            return ""


@contextmanager
def proxy(upstream: str, **shares: float) -> Iterator[Proxy]:
    """Run a proxy before a server, with these shares of faults."""
    assert set(shares) <= set(FAULTS)
    made = Proxy(upstream, shares=shares)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = made.draw()
            if fault == "refused":
                self.close_connection = True
                return
            if fault == "busy":
                self.answer(503, [], b"<Error><Code>SlowDown</Code><Message>Slow down.</Message></Error>")
                return
            if fault == "slow":
                time.sleep(SLOW_SECONDS)
            with made.lock:
                made.counts[self.command] += 1
                made.keys.append((self.command, self.path))
            connection = http.client.HTTPConnection(urlsplit(upstream).netloc, timeout=120)
            with closing(connection):
                headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            if fault == "lost":
                self.close_connection = True
                return
            self.answer(answer.status, answer.getheaders(), content)

        def answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response_only(status)
            sent_length = False
            for name, value in headers:
                if name.lower() in ("connection", "transfer-encoding", "keep-alive"):
                    continue
                if name.lower() == "content-length":
                    sent_length = True
                self.send_header(name, value)
            if not sent_length:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":  # a body would be taken for the start of the next answer
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815

        def log_message(self, format: str, *values: object) -> None:  # noqa: A002
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing: clients are killed in tests."""

    server = Server(("127.0.0.1", 0), Handler)
    made.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
