"""Part of step "download", beside the model's files: what the engine needs to hold for a build in layers."""

import tempfile
from pathlib import Path

from bridge.core.errors import BridgeError
from bridge.image import actions
from bridge.image.artifacts import ModelArtifacts, metadata_in
from bridge.image.builders.choice import Builder
from bridge.image.builders.layered import assemble as layered
from bridge.image.builders.layered import engine
from bridge.image.builders.layered.plan import Previous
from bridge.image.builders.layered.remote import LayeredRepository


def fetch(
    artifacts: ModelArtifacts, builder: Builder, repository: LayeredRepository, digest: str, *, java: bool = False
) -> Previous | None:
    """Have the engine hold the base, and the earlier image `digest` where its layers do for this model too.

    Gives that image; None where there is none that does. A registry that fails here costs time, and no more: the build
    asks for the base again, and installs what it doesn't find.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            artifacts.describe(Path(folder))
            metadata = metadata_in(Path(folder), java=java)
            plan = layered.plan(Path(folder), metadata, base_image=builder.base_image, wheels_only=builder.wheels_only)
        base = engine.base(plan.base)
        found = repository.previous(digest) if digest else None
        if found is None:
            actions.say("no earlier image is built upon")
            return None
        if not found.below_the_model(base, plan.key(base)):
            actions.say(f"{repository.name}@{digest} has another base or other requirements, which are installed anew")
            return None
        engine.pull(f"{repository.name}@{digest}")
    except BridgeError as error:
        actions.say(f"no earlier image is built upon: {error}")
        return None
    return found
