"""A container registry on this machine: the CNCF Distribution registry, as a program or as its image."""

import os
import secrets
import shutil
from pathlib import Path

import httpx2

from tests.loopback.servers import Server, free_port

IMAGE = "registry:3"
_PROGRAM = "docker-registry"
"""Its name in Debian."""


class Registry(Server):
    """An empty registry with its blobs in `folder`, for `user` with `password` alone."""

    title = "registry"
    health = "/v2/"
    user = "demo"

    def __init__(self, folder: Path) -> None:
        import bcrypt  # comes with the extra `dev`

        port = free_port()
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        self.host = f"127.0.0.1:{port}"
        self.password = secrets.token_hex(16)
        # The password is random and short-lived, and more rounds slow each request down.
        hashed = bcrypt.hashpw(self.password.encode(), bcrypt.gensalt(rounds=4)).decode()
        (folder / "htpasswd").write_text(f"{self.user}:{hashed}\n", encoding="utf-8")
        env = {
            "REGISTRY_AUTH_HTPASSWD_REALM": "demo",
            "REGISTRY_AUTH_HTPASSWD_PATH": str(folder / "htpasswd"),
            "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(folder / "blobs"),
        }
        if program := shutil.which(_PROGRAM):
            (folder / "config.yml").write_text(_CONFIG, encoding="utf-8")
            command = [program, "serve", str(folder / "config.yml")]
            env["REGISTRY_HTTP_ADDR"] = self.host
        else:
            passed = [part for name in env for part in ("--env", name)]
            command = ["docker", "run", "--rm", "--user", f"{os.getuid()}:{os.getgid()}"]
            command += ["--volume", f"{folder}:{folder}", *passed, "--publish", f"{self.host}:5000", IMAGE]
        super().__init__(command, env, folder, port)

    def tags(self, repository: str) -> dict[str, str]:
        """Return the digest of each tag of a repository, sorted by tag; empty if there is no such repository."""
        name = repository.removeprefix(f"{self.host}/")
        with httpx2.Client(
            base_url=f"{self.url}/v2/{name}/", auth=(self.user, self.password), trust_env=False
        ) as client:
            tags = client.get("tags/list").json().get("tags") or []
            return {
                tag: client.head(f"manifests/{tag}", headers=_MANIFESTS).headers["Docker-Content-Digest"]
                for tag in sorted(tags)
            }


_MANIFESTS = {
    "Accept": "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.oci.image.index.v1+json"
}
_CONFIG = """\
version: 0.1
log: {level: warn}
storage: {filesystem: {}, delete: {enabled: true}}
"""
