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
