"""`mlflow-bridge serve`."""

from datetime import UTC, datetime
from typing import Annotated

import typer


def serve(
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            metavar="DATE",
            help="At the first start, also import versions created since this date (UTC).",
        ),
    ] = None,
) -> None:
    """Run the bridge, which dispatches MLflow's webhooks to GitHub.

    Settings come from the environment and from the file .env in the working directory.
    """
    from bridge.server.process import serve as run

    run(since.replace(tzinfo=UTC).timestamp() if since else None)
