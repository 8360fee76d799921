"""An HTTP server on 127.0.0.1 whose answers a test writes; it records the requests."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


class Request(BaseHTTPRequestHandler):
    """One GET request, with methods to answer it."""

    server: "ScriptedServer"

    @property
    def folder(self) -> str | None:
        """The folder to list of MLflow's artifact proxy, or None for another request."""
        parts = urlsplit(self.path)
        return parse_qs(parts.query, keep_blank_values=True)["path"][0] if "path=" in parts.query else None

    def send(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def list(self, *files: dict[str, Any]) -> None:
        self.send(json.dumps({"files": files}).encode())

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        self.server.answer(self)

    def log_message(self, format: str, *args: object) -> None:
        pass


class ScriptedServer(ThreadingHTTPServer):
    """Use it as a context manager; without an `answer`, it answers 404."""

    daemon_threads = True

    def __init__(self, answer: Callable[[Request], None] = lambda request: request.send(b"", 404)) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.answer = answer
        self.requests: list[tuple[str, dict[str, str]]] = []
        """Path and headers of each request."""
        self.stopping = threading.Event()
        """Set at the end, for answers that wait."""
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.url = f"http://{self.host}"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    def handle_error(self, request: object, client_address: object) -> None:
        """A client may close its connection."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
