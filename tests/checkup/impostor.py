"""A server that says what a test makes it say: another version, engine or time, or nothing that Meilisearch says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def impostor(*, version: Mapping[str, str] | None = None, ahead: float = 0.0) -> Iterator[str]:
    """The url of a server with no task and no index. `version` is what it answers there (None: web pages, as anything
    but Meilisearch would); its clock is `ahead` by so many seconds."""
    empty = {"results": [], "total": 0, "limit": 1, "from": None, "next": None}
    pages: dict[str, object] = {"/health": {"status": "available"}, "/version": version, "/tasks": empty}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path.partition("?")[0])
            if version is None:
                self.answer(200, b"<html>hello</html>")
            elif body is None:
                missing = {"message": "Index not found.", "code": "index_not_found", "type": "invalid_request"}
                self.answer(404, json.dumps(missing).encode())
            else:
                self.answer(200, json.dumps(body).encode())

        def answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate(time.time() + ahead, usegmt=True)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
