"""The client against a fake skopeo: the arguments it passes, and what it makes of the answers."""

import json
from pathlib import Path

import pytest

from bridge.image.builders.layered.remote import LayeredRepository
from bridge.image.errors import RegistryError
from bridge.image.registry.client import Manifest, RegistryImage, Repository, TagImmutable
from tests.unit.image.fake_programs import Programs

NAME = "127.0.0.1:5000/demo/iris"
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


def says(programs: Programs, out: object = "", *, status: int = 0, err: str = "") -> None:
    programs.say("skopeo", json.dumps(out), status=status, err=err)


def called(programs: Programs) -> list[str]:
    return programs.calls[-1][1]


def test_a_tag_is_read_with_its_digest_and_labels(programs: Programs) -> None:
    says(programs, {"Digest": "sha256:1", "Labels": {"a": "b"}})
    assert Repository(NAME).inspect("7") == RegistryImage("sha256:1", {"a": "b"})
    assert called(programs)[-1] == f"docker://{NAME}:7"


def test_an_image_without_labels_has_none(programs: Programs) -> None:
    says(programs, {"Digest": "sha256:1", "Labels": None})
    assert Repository(NAME).inspect("7") == RegistryImage("sha256:1", {})


@pytest.mark.parametrize(
    "word",
    [
        "manifest unknown",
        "name unknown: repository name not known to registry",
        "name unknown: The repository with name 'iris' does not exist in the registry",
        'manifest tagged by "7" is not found',
        "unknown: artifact demo/iris:7 not found",
        "unknown: repository demo/iris not found",
        "invalid status code from registry 404 (Not Found)",
    ],
)
def test_a_tag_that_does_not_exist_is_none_and_no_error(programs: Programs, word: str) -> None:
    says(programs, status=1, err=f'level=fatal msg="reading manifest 7: {word}"')
    assert Repository(NAME).inspect("7") is None


def test_nothing_to_copy_is_an_error(programs: Programs) -> None:
    says(programs, status=1, err="manifest unknown")
    with pytest.raises(RegistryError, match="manifest unknown"):
        Repository(NAME).tag("sha256:1", "champion")


REFUSALS = [
    "unauthorized: authentication required",
    "denied: requested access to the resource is denied",
    "Requesting bearer token: invalid status code from registry 403 (Forbidden)",
]


@pytest.mark.parametrize("word", REFUSALS)
def test_a_refusal_without_a_sign_in_is_an_error(programs: Programs, tmp_path: Path, word: str) -> None:
    says(programs, status=1, err=word)
    (tmp_path / "config.json").write_text('{"auths": {"r.example": {}}}')
    with pytest.raises(RegistryError, match="user and password"):
        Repository(NAME, docker_config=tmp_path).inspect("7")


@pytest.mark.parametrize("word", REFUSALS)
def test_a_refusal_with_a_sign_in_means_a_repository_that_does_not_exist_yet(
    programs: Programs, tmp_path: Path, word: str
) -> None:
    says(programs, status=1, err=word)
    (tmp_path / "config.json").write_text('{"auths": {"127.0.0.1:5000": {}}}')
    repository = Repository(NAME, docker_config=tmp_path)
    assert repository.inspect("7") is None
    with pytest.raises(RegistryError, match="user and password"):
        repository.tag("sha256:1", "champion")


@pytest.mark.parametrize("word", REFUSALS)
def test_a_refusal_in_a_repository_that_can_be_listed_never_means_that_the_tag_does_not_exist(
    programs: Programs, tmp_path: Path, word: str
) -> None:
    says(programs, status=1, err=word)
    programs.answer("skopeo", f"docker://{NAME}", json.dumps({"Tags": ["1"]}))
    (tmp_path / "config.json").write_text('{"auths": {"127.0.0.1:5000": {}}}')
    with pytest.raises(RegistryError):
        Repository(NAME, docker_config=tmp_path).inspect("champion")


@pytest.mark.parametrize("model", ["denied", "forbidden", "unauthorized"])
@pytest.mark.parametrize(
    "words",
    [
        "reading manifest 7 in 127.0.0.1:5000/demo/{}: received unexpected HTTP status: 418",
        'Get "http://127.0.0.1:5000/v2/demo/{}/tags/list": context deadline exceeded',
        r'msg="Get \"https://auth.example/token?scope=repository%3Ademo%2F{}%3Apull\": no such host"',
    ],
)
def test_the_name_of_a_model_is_no_word_of_the_registrys(
    programs: Programs, tmp_path: Path, model: str, words: str
) -> None:
    name = f"127.0.0.1:5000/demo/{model}"
    says(programs, status=1, err=words.format(model))
    (tmp_path / "config.json").write_text('{"auths": {"127.0.0.1:5000": {}}}')
    with pytest.raises(RegistryError):
        Repository(name, docker_config=tmp_path).inspect("7")
    with pytest.raises(RegistryError):
        Repository(name, docker_config=tmp_path).tags()


@pytest.mark.parametrize(
    "word", ["dial tcp: connection refused", 'exec: "docker-credential-x": executable file not found in $PATH']
)
def test_any_other_failure_does_not_mean_that_the_tag_does_not_exist(programs: Programs, word: str) -> None:
    says(programs, status=1, err=word)
    with pytest.raises(RegistryError):
        Repository(NAME, pauses=()).inspect("7")


@pytest.mark.parametrize(
    "word",
    [
        "received unexpected HTTP status: 500 Internal Server Error",
        "invalid status code from registry 503 (Service Unavailable)",
        "dial tcp 10.0.0.1:443: connect: connection refused",
        "toomanyrequests: Rate exceeded",
        "unexpected EOF",
    ],
)
def test_a_failure_is_retried_and_a_refusal_is_not(programs: Programs, word: str) -> None:
    for answer, tries in ((word, 3), ("denied: no", 1)):
        before = len(programs.calls)
        says(programs, status=1, err=answer)
        with pytest.raises(RegistryError):
            Repository(NAME, pauses=(0.0, 0.0)).tag("sha256:1", "champion")
        assert len(programs.calls) - before == tries


def test_a_tag_that_may_not_be_moved_has_its_own_error(programs: Programs) -> None:
    says(programs, status=1, err="tag invalid: The image tag 'x' already exists … because the tag is immutable.")
    with pytest.raises(TagImmutable):
        Repository(NAME).tag("sha256:1", "champion")


@pytest.mark.parametrize(
    ("host", "word", "hint"),
    [
        ("ghcr.io", "denied: permission_denied: write_package", "Manage Actions access"),
        ("docker.io", "denied: requested access to the resource is denied", "DOCKER_NAMESPACE"),
        (ECR, "denied: Your authorization token has expired. Reauthenticate and try again.", "re-run the failed jobs"),
    ],
)
def test_a_known_refusal_has_its_own_hint(programs: Programs, host: str, word: str, hint: str) -> None:
    says(programs, status=1, err=word)
    with pytest.raises(RegistryError) as refused:
        Repository(f"{host}/demo/iris").tag("sha256:1", "champion")
    assert hint in refused.value.hint


@pytest.mark.parametrize("word", ["denied: Your authorization token has expired.", "denied: not authorized to perform"])
def test_a_refusal_by_ecr_never_means_that_the_tag_does_not_exist(
    programs: Programs, tmp_path: Path, word: str
) -> None:
    says(programs, status=1, err=word)
    (tmp_path / "config.json").write_text(json.dumps({"auths": {ECR: {}}}))
    with pytest.raises(RegistryError, match=r"denied|expired"):
        Repository(f"{ECR}/demo/iris", tmp_path).inspect("7")


def test_the_tags_of_a_repository_are_read_and_a_missing_one_has_none(programs: Programs) -> None:
    says(programs, {"Repository": NAME, "Tags": ["1", "champion"]})
    assert Repository(NAME).tags() == ["1", "champion"]
    says(programs, status=1, err="name unknown")
    assert Repository(NAME).tags() == []


@pytest.mark.usefixtures("programs")
def test_a_missing_program_is_named_in_the_hint() -> None:
    with pytest.raises(RegistryError, match="install skopeo"):
        Repository(NAME).inspect("7")


def test_only_a_registry_on_this_machine_is_used_without_tls(programs: Programs) -> None:
    says(programs, {"Digest": "sha256:1"})
    for host, plain in {
        "127.0.0.1:5000": True,
        "localhost": True,
        "[::1]:1": True,
        "r.example": False,
        "127.example": False,
    }.items():
        Repository(f"{host}/iris").inspect("7")
        assert ("--tls-verify=false" in called(programs)) is plain, host


def test_a_tag_is_set_by_digest_for_all_platforms_and_without_a_change(programs: Programs, tmp_path: Path) -> None:
    says(programs)
    (tmp_path / "config.json").write_text("{}")
    Repository(NAME, docker_config=tmp_path).tag("sha256:1", "champion")
    command = called(programs)
    assert command[command.index("copy") :][:3] == ["copy", "--authfile", str(tmp_path / "config.json")]
    assert {"--all", "--preserve-digests"} <= set(command)
    assert command[-2:] == [f"docker://{NAME}@sha256:1", f"docker://{NAME}:champion"]


def test_a_manifest_has_its_configuration_and_its_bytes(programs: Programs) -> None:
    layers = [{"size": 100}, {"size": 20}]
    says(programs, {"config": {"digest": "sha256:c", "size": 3}, "layers": layers})
    assert Repository(NAME).manifest("sha256:1") == Manifest("sha256:c", 123)


def test_an_index_has_its_own_digest_and_its_first_images_bytes(programs: Programs) -> None:
    index = {
        "manifests": [
            {"digest": "sha256:attestation", "platform": {"os": "unknown", "architecture": "unknown"}},
            {"digest": "sha256:image", "platform": {"os": "linux", "architecture": "amd64"}},
        ]
    }
    programs.answer("skopeo", f"docker://{NAME}@sha256:index", json.dumps(index))
    image = {"config": {"digest": "sha256:c", "size": 3}, "layers": [{"size": 100}]}
    programs.answer("skopeo", f"docker://{NAME}@sha256:image", json.dumps(image))
    assert Repository(NAME).manifest("sha256:index") == Manifest("sha256:index", 103)


@pytest.mark.parametrize(
    "planted",
    [
        {},
        [],
        {"manifests": []},
        {"manifests": [{"platform": {"os": "unknown"}}]},
        {"manifests": [{"digest": "sha256:nested"}]},
        {"config": {}, "layers": []},
        {"config": {"digest": "sha256:c", "size": "1"}, "layers": []},
        {"schemaVersion": 1, "fsLayers": []},
    ],
)
def test_a_planted_manifest_that_is_no_image_is_our_error(programs: Programs, planted: object) -> None:
    says(programs, planted)
    with pytest.raises(RegistryError):
        Repository(NAME).manifest("sha256:1")


@pytest.mark.parametrize(
    "answer", ['{"layers": ' + "[" * 200_000 + "]" * 200_000 + "}", "no JSON"], ids=["nested deeply", "no JSON"]
)
def test_a_manifest_that_cant_be_read_is_our_error(programs: Programs, answer: str) -> None:
    programs.say("skopeo", answer)
    for ask in (Repository(NAME).manifest, LayeredRepository(NAME).previous):
        with pytest.raises(RegistryError, match="manifest"):
            ask("sha256:1")
