"""The base of every error that is ours. Leaf names say what happened; data sits in attributes."""


class BridgeError(Exception):
    """What happened, to what (`message`), and what to do about it (`hint`, may be empty).

    Both are one line without a secret. `str()` gives both, for logs and terminals; no code reads either back.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}: {hint}" if hint else message)
        self.message = message
        self.hint = hint
