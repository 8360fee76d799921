"""The bucket, at moto's S3 in this very process."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from tracking import bucket
from tracking.bucket import BucketUnusable

AT_AWS = {"ARTIFACTS_BUCKET": "artifacts"}


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "sentinel")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield


def test_an_existing_bucket_is_usable_and_not_created() -> None:
    boto3.client("s3").create_bucket(Bucket="artifacts")
    bucket.check(AT_AWS)
    assert bucket.create(AT_AWS) is False


def test_a_missing_bucket_is_unusable() -> None:
    with pytest.raises(BucketUnusable, match="ARTIFACTS_BUCKET"):
        bucket.check(AT_AWS)


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_it_is_created_in_the_configured_region(monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    assert bucket.create(AT_AWS | {"AWS_DEFAULT_REGION": region}) is True
    location = boto3.client("s3").get_bucket_location(Bucket="artifacts")["LocationConstraint"]
    assert (location or "us-east-1") == region


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "AWS_ACCESS_KEY_ID"),
        (403, "AWS_SECRET_ACCESS_KEY"),
        (301, "AWS_DEFAULT_REGION"),
        (400, "AWS_DEFAULT_REGION"),
        (500, "the S3 server's log"),
    ],
)
def test_an_error_has_a_hint_and_no_secret(monkeypatch: pytest.MonkeyPatch, status: int, hint: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ClientError({"Error": {"Code": "Refused"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "HeadBucket")

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", fail)
    with pytest.raises(BucketUnusable, match=hint) as caught:
        bucket.create(AT_AWS)
    assert "sentinel" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flag", "verify"), [("false", None), ("true", False)]
)  # None: boto3's CA bundle, or a set one
def test_certificates_are_verified_unless_that_is_disabled(
    monkeypatch: pytest.MonkeyPatch, flag: str, verify: bool | None
) -> None:
    client = MagicMock()
    monkeypatch.setattr("boto3.client", client)
    bucket.check(AT_AWS | {"MLFLOW_S3_ENDPOINT_URL": "https://s3", "MLFLOW_S3_IGNORE_TLS": flag})
    arguments = client.call_args.kwargs
    assert (arguments["endpoint_url"], arguments["verify"]) == ("https://s3", verify)


def test_without_credentials_the_hint_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("botocore.session.Session.get_credentials", lambda _: None)
    with pytest.raises(
        BucketUnusable, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the container a role"
    ):
        bucket.check(AT_AWS)
