"""The loops of the bridge: intake, dispatcher, follower and reconciler, and what keeps them running."""
