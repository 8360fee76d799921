"""The runner of the proof, which builds images like the workflow, and counts its builds."""

import threading
from collections import Counter

from tests.loopback.github.runs import Assignment, Conclusion, Report


class ImageRunner:
    """Builds the image of a run's version if there is none."""

    def __init__(self) -> None:
        self.builds = Counter[tuple[str, str]]()
        self.images: set[tuple[str, str]] = set()

    def execute(self, assignment: Assignment, report: Report, cancelled: threading.Event) -> Conclusion:
        """Build the version's image if there is none."""
        model = assignment.run.payload["client_payload"]["model"]
        image = (str(model["name"]), str(model["version"]))
        if image not in self.images:
            self.builds[image] += 1
            self.images.add(image)
        return "success"
