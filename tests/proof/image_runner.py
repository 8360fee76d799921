"""The runner of the proof: it does what the workflow does, level-triggered, and remembers what it built."""

import threading
from collections import Counter

from tests.loopback.github.runs import Assignment, Conclusion, Report


class ImageRunner:
    """Builds the image of a run's version where there is none."""

    def __init__(self) -> None:
        self.builds = Counter[tuple[str, str]]()
        self.images: set[tuple[str, str]] = set()

    def execute(self, assignment: Assignment, report: Report, cancelled: threading.Event) -> Conclusion:
        """Look whether the version has its image, and build it if not."""
        model = assignment.run.payload["client_payload"]["model"]
        image = (str(model["name"]), str(model["version"]))
        if image not in self.images:
            self.builds[image] += 1
            self.images.add(image)
        return "success"
