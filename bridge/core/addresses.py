"""URLs in settings and webhooks."""

import ipaddress
from urllib.parse import urlsplit


def split_url(url: str) -> tuple[str, str, str]:
    """Return scheme, host and path; empty texts if `url` is not a URL."""
    try:
        components = urlsplit(url)
        _ = components.port
    except ValueError:
        return "", "", ""
    return components.scheme, components.hostname or "", components.path


def redact(url: str) -> str:
    """Return the address without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    host = split_url(url)[1]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
