"""The bucket, at moto's S3 in this very process."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from tracking import bucket
from tracking.settings import Storage

AT_AWS = Storage("artifacts", None)


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "sentinel")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield


def test_a_bucket_that_is_there_is_let_pass() -> None:
    boto3.client("s3").create_bucket(Bucket="artifacts")
    bucket.check(AT_AWS)
    assert bucket.create(AT_AWS) is False


def test_one_that_is_not_there_is_named_with_its_mend() -> None:
    with pytest.raises(bucket.BucketMissing, match="bucket artifacts at AWS isn't there: create it"):
        bucket.check(AT_AWS)


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_it_is_made_in_the_region_that_is_set(monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    assert bucket.create(AT_AWS) is True
    where = boto3.client("s3").get_bucket_location(Bucket="artifacts")["LocationConstraint"]
    assert (where or "us-east-1") == region


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
def test_each_refusal_says_what_to_mend_and_no_key(monkeypatch: pytest.MonkeyPatch, status: int, hint: str) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ClientError({"Error": {"Code": "Refused"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "HeadBucket")

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", refuse)
    with pytest.raises(bucket.BucketUnusable, match=hint) as told:
        bucket.check(AT_AWS)
    assert "sentinel" not in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("verify", "passed"), [(True, None), (False, False)])  # None: boto3's own bundle, or a set one
def test_certificates_are_verified_unless_that_is_switched_off(
    monkeypatch: pytest.MonkeyPatch, verify: bool, passed: bool | None
) -> None:
    client = MagicMock()
    monkeypatch.setattr("boto3.client", client)
    bucket.check(Storage("artifacts", "https://s3", verify=verify))
    asked = client.call_args.kwargs
    assert (asked["endpoint_url"], asked["verify"]) == ("https://s3", passed)


def test_without_credentials_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("botocore.session.Session.get_credentials", lambda _: None)
    with pytest.raises(bucket.BucketUnusable, match="give the container a role"):
        bucket.check(AT_AWS)
