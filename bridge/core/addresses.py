"""URLs in settings and webhooks."""

import ipaddress
from urllib.parse import urlsplit


def parts(url: str) -> tuple[str, str, str]:
    """Return scheme, host and path; empty texts if `url` is not a URL."""
    try:
        split = urlsplit(url)
        _ = split.port
    except ValueError:
        return "", "", ""
    return split.scheme, split.hostname or "", split.path


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    host = parts(url)[1]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
