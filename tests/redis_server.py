"""A Redis to test against: the one that FACINGS_TEST_REDIS names, else redis-server where it is installed, else ours.

Ours speaks the few commands that Feast sends, over a real socket through the real client.
"""

from __future__ import annotations

import os
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class SmallRedis(socketserver.StreamRequestHandler):
    """Hashes only: HSET, HMGET, HKEYS, DEL, EXPIRE (taken, not run down); everything else is refused."""

    hashes: dict[bytes, dict[bytes, bytes]] = {}  # noqa: RUF012

    def handle(self) -> None:
        while header := self.rfile.readline():
            words = [self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2] for _ in range(int(header[1:]))]
            self.wfile.write(self.answer(words[0].upper(), words[1:]))

    def answer(self, command: bytes, words: list[bytes]) -> bytes:
        held = self.hashes
        if command == b"HSET":
            held.setdefault(words[0], {}).update(zip(words[1::2], words[2::2], strict=True))
            return b":1\r\n"
        if command == b"HMGET":
            return self.array([held.get(words[0], {}).get(field) for field in words[1:]])
        if command == b"HKEYS":
            return self.array(list(held.get(words[0], {})))
        if command == b"DEL":
            return b":%d\r\n" % sum(held.pop(key, None) is not None for key in words)
        if command == b"EXPIRE":
            return b":1\r\n"
        return b"-ERR unknown command\r\n"

    @staticmethod
    def array(values: list[bytes | None]) -> bytes:
        parts = [b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value) for value in values]
        return b"*%d\r\n%s" % (len(values), b"".join(parts))


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@contextmanager
def redis_address(folder: Path) -> Iterator[str]:
    """Yield the connection string of a Redis; one that is started here is empty and ends with the block."""
    given, program = os.environ.get("FACINGS_TEST_REDIS"), shutil.which("redis-server")
    if given:
        yield given
    elif program:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        folder.mkdir(parents=True, exist_ok=True)
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                _wait_for(port)
                yield f"127.0.0.1:{port}"
            finally:
                server.terminate()
    else:
        SmallRedis.hashes.clear()
        with Server(("127.0.0.1", 0), SmallRedis) as small:
            threading.Thread(target=small.serve_forever, daemon=True).start()
            yield f"127.0.0.1:{small.server_address[1]},protocol=2"
            small.shutdown()


def _wait_for(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError("redis-server does not answer")
