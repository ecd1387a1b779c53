"""A model of the neighbourhood: a server that makes vectors of texts, for embedders of the source `rest`."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

DIMENSIONS = 4


@dataclass(kw_only=True)
class Model:
    """Where it listens, and the texts that it was asked for so far."""

    url: str
    texts: list[str] = field(default_factory=list)

    def embedder(self) -> dict[str, Any]:
        """The setting that makes a Meilisearch ask it."""
        return {
            "source": "rest",
            "url": self.url,
            "dimensions": DIMENSIONS,
            "documentTemplate": "{{doc.title}}",
            "request": {"input": ["{{text}}", "{{..}}"]},
            "response": {"data": ["{{embedding}}", "{{..}}"]},
        }


def vector_of(text: str) -> list[float]:
    """Numbers that follow from the text, but for its case."""
    digest = hashlib.sha256(text.strip().lower().encode()).digest()
    return [digest[place] / 128 - 1 for place in range(DIMENSIONS)]


@contextmanager
def running_model() -> Iterator[Model]:
    """A model on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = msgspec.json.decode(self.rfile.read(int(self.headers["Content-Length"])))
            model.texts.extend(body["input"])
            answer = msgspec.json.encode({"data": [vector_of(text) for text in body["input"]]})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        model = Model(url=f"http://127.0.0.1:{server.server_port}/")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield model
        finally:
            server.shutdown()
            thread.join()
