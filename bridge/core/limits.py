"""Every limit on a request, an answer, a text or a file, each with its unit and its source.

Limits of time stay with the call or loop that they end.
"""

from typing import Final

# Requests to the bridge

MAX_BODY: Final = 1024 * 1024
"""Bytes of a delivery's body. MLflow's events have a few hundred; descriptions and tags may make them longer."""

MAX_HEAD: Final = 16 * 1024
"""Bytes of a request's head: two of nginx's `large_client_header_buffers`."""

MAX_HEADERS: Final = 100
"""Headers of a request, a few hundred bytes of memory each. MLflow sends about ten, a browser behind a proxy thirty."""

MAX_CONNECTIONS: Final = 5_000
"""Open connections. Each takes 25 KB while a head of `MAX_HEAD` arrives: together a quarter of compose.yaml's limit."""

RECEIVE_BUFFER: Final = 32 * 1024
"""Bytes of a connection's receive buffer, and so of one read: a thousand connections may have data at the same time.
A body of `MAX_BODY` still arrives in 7 s at a latency of 200 ms.
"""

MAX_UNVERIFIED_BODIES: Final = 32 * 1024 * 1024
"""Bytes of all bodies whose signature is not verified yet: 32 of `MAX_BODY`. MLflow's server sends ten at a time."""

UNCOUNTED_BODY: Final = 4 * 1024
"""Bytes of each body that don't count, about what its connection takes anyway. An event of MLflow's has a few hundred
bytes, so it is accepted even while others use up `MAX_UNVERIFIED_BODIES`.
"""

# Requests to the status page and its API, and what the page shows

MAX_PARAMETER: Final = 1_000
"""Characters of a name or version to filter by, about as long as the ledger stores them."""

MAX_SEARCH: Final = 500
"""Characters; longer than any name that a person searches for."""

MAX_CURSOR: Final = 100
"""Characters of `before`; the bridge's own have 26."""

MAX_ROWS: Final = 200
"""Rows of one answer. With a million deliveries in the ledger, a page of 50 takes about 10 ms (docs/benchmarks.md)."""

MAX_LINK: Final = 2_000
"""Characters of an address that every browser and proxy accepts."""

MAX_SHOWN_NAME: Final = 200
"""Characters of a name on the page; MLflow allows any number."""
