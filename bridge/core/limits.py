"""Every limit on a request, an answer, a text or a file, each with its unit and its source.

Limits of time stay with the call or loop that they end.
"""

from typing import Final

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
