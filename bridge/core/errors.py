"""Every error that is ours. Leaf names say what happened; data sits in attributes.

A message names the thing, the cause and the mend, in that order, in one line, and never holds a secret.
"""


class BridgeError(Exception):
    """The base of all errors that this package raises on purpose."""
