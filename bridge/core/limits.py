"""Every limit on a request, an answer, a text or a file, each with its unit and its source.

Limits of time stay with the call or loop that they end.
"""

from typing import Final

# A model's files, as MLflow lists them

MAX_ARTIFACT_URI: Final = 4096
"""Characters of the address of a model's artifacts; as long as any other untrusted text."""

MAX_MODEL_FILES: Final = 100_000
"""Files of one model: many more than any of MLflow's flavors writes."""

MAX_MODEL_FOLDERS: Final = 5_000
"""Folders of one model, each of which costs one request."""

MAX_FILE_NAME: Final = 255
"""Bytes (UTF-8) of a file's or folder's name: `NAME_MAX` of Linux's file systems."""

MAX_FILE_PATH: Final = 1024
"""Bytes (UTF-8) of a path below the model, which also limits nested folders: the longest key in S3."""

# A model's metadata

MAX_METADATA: Final = 4_000_000
"""Bytes of `MLmodel` or another metadata file. The longest in practice: a signature of some ten thousand columns."""

MAX_YAML_VALUES: Final = 20_000
"""Scalars, lists and maps in one file. MLflow stores signatures and examples as text, so it needs a few hundred."""

MAX_YAML_DEPTH: Final = 50
"""Nested lists and maps: several times what MLflow writes."""

MAX_YAML_NUMBER: Final = 100
"""Characters of a scalar that isn't text, such as a number or a date: Python needs quadratic time for longer ones."""

MAX_REQUIREMENTS: Final = 1_000_000
"""Characters of one file of requirements: about ten thousand of them."""

MAX_REQUIREMENT: Final = 1_000
"""Characters of one requirement, which `packaging` parses by recursion."""

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

# Texts and names

MAX_TEXT: Final = 4096
"""Characters of one untrusted text. MLflow's own columns hold 500 of a source; URLs are shorter in practice."""

MAX_NAME: Final = 1200
"""Bytes (UTF-8) of the name of a model or alias. PostgreSQL stores both in one index entry of at most 2,704 bytes.

MLflow's own columns hold 256 characters, but SQLite doesn't enforce that.
"""

MAX_INTEGER_DIGITS: Final = 19
"""Digits of an integer in JSON: the largest that a database stores in 64 bits."""

MAX_ERROR_MESSAGE: Final = 300
"""Characters that are kept of an error message from GitHub or MLflow: one readable line."""

# Answers

MAX_ANSWER: Final = 8 * 1024 * 1024
"""Bytes of an answer after decompression.

A list of 100 runs from GitHub has 1 to 2 MB, a list of 200 versions from MLflow less.
"""

MAX_ERROR_BODY: Final = 65_536
"""Bytes that are read of the error that MLflow's artifact proxy sends instead of a file."""

MAX_REGISTRY_ANSWER: Final = 65_536
"""Bytes of a container registry's error or token. The longest in practice, Azure's tokens, have a few thousand."""

MAX_HEADER_DIGITS: Final = 12
"""Digits of a header that counts seconds or requests; Unix seconds have ten."""

# GitHub: "Create a repository dispatch event"; "Events that trigger workflows" for workflow_dispatch, whose inputs have
# the same limit of characters, and a limit of 25 inputs (10 on older servers)

MAX_EVENT_TYPE: Final = 100
"""Characters of a repository_dispatch's event_type."""

MAX_PAYLOAD_KEYS: Final = 10
"""Keys at the top level of client_payload."""

MAX_PAYLOAD: Final = 65_535
"""Characters of client_payload, or of a workflow's inputs, as JSON."""

# GitHub: "List workflow runs for a repository"

RUNS_PER_PAGE: Final = 100
"""Runs on one page of the list; GitHub allows no more."""

MAX_RUN_PAGES: Final = 10
"""Pages of one list that are read: 1,000 runs, which is all that GitHub returns for one search."""

MAX_CACHED_RUN_PAGES: Final = 64
"""Pages of runs that are kept in memory, to be requested again only if they have changed."""

# MLflow: its registry lists at most 1,000 models at once (`SEARCH_REGISTERED_MODEL_MAX_RESULTS_THRESHOLD`)

MLFLOW_PAGE: Final = 200
"""Versions or models that are requested at once; each model comes with its latest versions."""

MLFLOW_WEBHOOKS_PAGE: Final = 100
"""Webhooks that are requested at once."""

MAX_MLFLOW_PAGES: Final = 5_000
"""Pages of one list that are read: with full pages, a million versions or models."""

MAX_MLFLOW_OVERSIZED: Final = 100
"""Answers of one list that may exceed `MAX_ANSWER`. MLflow itself couldn't list more entries of that size."""

# The file of the routes

MAX_ROUTES_FILE: Final = 64 * 1024
"""Characters: about five hundred routes."""

MAX_GLOB: Final = 1000
"""Characters of a glob in a route: about as long as the longest name that it can match."""

MAX_LINE: Final = 200
"""Characters of a route's other texts. The longest in practice are the names of images and branches."""

# An image's name, and what a step reads from an image or a container

MAX_SLUG: Final = 100
"""Characters of a model's part of the image's name, without its hash: registries allow 255 for the whole name."""

MAX_CONTAINER_OUTPUT: Final = 65_536
"""Bytes that are read of one program in a container: the answer to a serving example, cut off for the log."""

MAX_PACKAGES: Final = 5_000
"""Packages in an SBOM: ten times as many as large images have, and still written in less than a minute."""

MAX_DEPENDENCIES: Final = 50_000
"""Requirements of all packages in an SBOM: ten for each package."""

MAX_DEBIAN_STATUS: Final = 64 * 1024 * 1024
"""Bytes of Debian's list of installed packages; with all of its archive installed, it has about as many."""

MAX_PACKAGE_METADATA: Final = 256 * 1024
"""Bytes of the metadata of one Python package, which includes its description."""

MAX_PACKAGE_RECORD: Final = 16 * 1024 * 1024
"""Bytes of the list of one Python package's files: more than 100,000 files."""

MAX_LICENSE: Final = 200
"""Characters of the name of a license. Some packages have the license's whole text there, which is left out."""
