"""A way to a registry that can fail in the middle of a push, as networks and registries do."""

import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.loopback.servers import free_port

_HALF = 1 << 18
"""Bytes of a layer that pass before it is cut off."""
_LAYER = re.compile(rb"PATCH /v2/\S+/blobs/uploads/")
_MANIFEST = re.compile(rb"PUT /v2/\S+/manifests/")


class FlakyProxy(socketserver.ThreadingTCPServer):
    """Hands everything on to the registry, but for what it is told to cut off; counts what it cut.

    `layers`: how many uploads of a layer are still to be cut in their middle. `manifests`: whether whoever brings a
    manifest is cut off.
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

    def takes_layer(self) -> bool:
        """Tell whether the upload of a layer that has come this far may go on."""
        with self._counting:
            cut = self.layers > self.layers_cut
            self.layers_cut += cut
        return not cut

    def takes_manifest(self) -> bool:
        """Tell whether a manifest may go on."""
        with self._counting:
            self.manifests_cut += self.manifests
        return not self.manifests


@contextmanager
def flaky_proxy(behind: str) -> Iterator[FlakyProxy]:
    """Give a way to the registry at the host `behind`."""
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
                self._hand_on(upstream)
            upstream.shutdown(socket.SHUT_RDWR)
            back.join(5)

    def _hand_on(self, upstream: socket.socket) -> None:
        """Hand requests on until one is cut off; a client begins each with a packet of its own."""
        of_layer: int | None = None
        while data := self.request.recv(1 << 16):
            if _MANIFEST.match(data) and not self.server.takes_manifest():
                return
            if _LAYER.match(data):
                of_layer = 0
            if of_layer is not None:
                of_layer += len(data)
                if of_layer > _HALF:
                    if not self.server.takes_layer():
                        return
                    of_layer = None
            upstream.sendall(data)


def _pour(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
