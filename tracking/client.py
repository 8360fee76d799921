"""What the stack does at a running tracking server, as a client of it: tell it of the bridge, register an example."""

import os
import sys
from collections.abc import Mapping
from typing import Any

_EVENTS = ("model_version.created", "model_version_alias.created")
_NAME = "bridge"
_NEEDED = {
    "MLFLOW_TRACKING_URI": "the tracking server's address",
    "BRIDGE_WEBHOOK_URL": "the address at which MLflow reaches the bridge, such as https://bridge.example.com/webhook",
    "MLFLOW_WEBHOOK_SECRET": "the secret that the bridge has, too",
}


def create_webhook(environ: Mapping[str, str]) -> int:
    """Have MLflow tell the bridge of new versions and aliases; done again, it only sets address and secret anew."""
    lacking = [f"{name} is not set: set it to {what}" for name, what in _NEEDED.items() if not environ.get(name)]
    if lacking:
        print("\n".join(lacking), file=sys.stderr)
        return 2
    import mlflow

    client: Any = mlflow.MlflowClient()
    said = {"url": environ["BRIDGE_WEBHOOK_URL"], "secret": environ["MLFLOW_WEBHOOK_SECRET"], "events": list(_EVENTS)}
    known = next((each for each in client.list_webhooks() if each.name == _NAME), None)
    if known:
        client.update_webhook(known.webhook_id, **said)
    else:
        client.create_webhook(name=_NAME, **said)
    print(f"webhook {_NAME} {'was set anew' if known else 'was made'}: {said['url']}")
    return 0


def register_example() -> int:
    """Register a new version of a small model with the alias champion."""
    import mlflow

    def doubled(model_input: list[int]) -> list[int]:  # inside, so that it is pickled whole, not by this module's name
        return [2 * number for number in model_input]

    name = os.environ.get("EXAMPLE_MODEL") or "Doubles (example)"
    with mlflow.start_run():
        logged = mlflow.pyfunc.log_model(
            name="model", python_model=doubled, registered_model_name=name, pip_requirements=["cloudpickle"]
        )
    version = str(logged.registered_model_version)
    mlflow.MlflowClient().set_registered_model_alias(name, "champion", version)
    print(f"registered {name} version {version}, alias champion")
    return 0
