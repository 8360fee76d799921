"""Whether the server in this container answers, for HEALTHCHECK, and whether it serves at all."""

import ipaddress
import socket
import urllib.error
import urllib.request
from contextlib import suppress

from tracking.settings import Settings

_SECONDS = 0.5
"""How long a connection within the container may take."""


def address(settings: Settings) -> str:
    """Give the address at which a healthy server answers 200; no sign-in and no list of hosts stands before it."""
    host = _reached(settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}{settings.static_prefix}/health"


def answers(url: str, timeout: float = 4.0) -> bool:
    """Tell whether it answers 200 in time, in seconds; proxies are passed by."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout) as answer:
            return int(answer.status) == 200
    except (OSError, urllib.error.URLError):
        return False


def serves(settings: Settings) -> bool:
    """Tell whether connections are taken, however busy the server may be; in doubt they are."""
    try:
        socket.create_connection((_reached(settings.host), int(settings.port)), timeout=_SECONDS).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return True


def _reached(host: str) -> str:
    """Give the host at which this container itself reaches a server that listens at this one."""
    with suppress(ValueError):
        given = ipaddress.ip_address(host)
        if given.is_unspecified:
            return "127.0.0.1" if given.version == 4 else "::1"
    return host
