"""Whether the server in this container answers, for HEALTHCHECK."""

import urllib.error
import urllib.request
from collections.abc import Mapping


def address(environ: Mapping[str, str]) -> str:
    """Give the address at which a healthy server answers 200; no sign-in and no list of hosts stands before it."""
    port, prefix = environ.get("MLFLOW_PORT") or "5000", environ.get("MLFLOW_STATIC_PREFIX") or ""
    return f"http://127.0.0.1:{port}{prefix}/health"


def answers(url: str, timeout: float = 4.0) -> bool:
    """Tell whether it answers 200 in time, in seconds; proxies are passed by."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout) as answer:
            return int(answer.status) == 200
    except (OSError, urllib.error.URLError):
        return False
