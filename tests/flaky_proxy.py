"""A proxy to a registry that cuts connections in the middle of a push."""

import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.loopback.servers import free_port

_HALF = 1 << 18
"""Bytes of a layer that pass before the connection is cut."""
_LAYER = re.compile(rb"PATCH /v2/\S+/blobs/uploads/")
_MANIFEST = re.compile(rb"PUT /v2/\S+/manifests/")


class FlakyProxy(socketserver.ThreadingTCPServer):
    """Forwards everything to the registry, except for what it cuts, and counts that.

    `layers`: how many uploads of a layer to cut in the middle. `manifests`: whether to cut uploads of a manifest.
    """

    allow_reuse_address = daemon_threads = True

    def __init__(self, behind: str) -> None:
        port = free_port()
        super().__init__(("127.0.0.1", port), _Connection)
        self.host = f"127.0.0.1:{port}"
        self.behind = ("127.0.0.1", int(behind.rpartition(":")[2]))
        self.layers = 0
        self.manifests = False
        self.layers_cut = self.manifests_cut = 0
        self._counting = threading.Lock()

    def allows_layer(self) -> bool:
        """Return whether the upload of a layer may continue."""
        with self._counting:
            cut = self.layers > self.layers_cut
            self.layers_cut += cut
        return not cut

    def allows_manifest(self) -> bool:
        """Return whether the upload of a manifest may continue."""
        with self._counting:
            self.manifests_cut += self.manifests
        return not self.manifests


@contextmanager
def flaky_proxy(behind: str) -> Iterator[FlakyProxy]:
    """Run a proxy to the registry at the host `behind`."""
    with FlakyProxy(behind) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class _Connection(socketserver.BaseRequestHandler):
    server: FlakyProxy

    def handle(self) -> None:
        with socket.create_connection(self.server.behind) as upstream:
            back = threading.Thread(target=_pour, args=(upstream, self.request), daemon=True)
            back.start()
            with suppress(OSError):
                self._forward(upstream)
            upstream.shutdown(socket.SHUT_RDWR)
            back.join(5)

    def _forward(self, upstream: socket.socket) -> None:
        """Forward requests until one is cut; a client starts each with a new packet."""
        of_layer: int | None = None
        while data := self.request.recv(1 << 16):
            if _MANIFEST.match(data) and not self.server.allows_manifest():
                return
            if _LAYER.match(data):
                of_layer = 0
            if of_layer is not None:
                of_layer += len(data)
                if of_layer > _HALF:
                    if not self.server.allows_layer():
                        return
                    of_layer = None
            upstream.sendall(data)


def _pour(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
