"""The bucket for artifacts, over boto3."""

import os
import time
from typing import Any

from tracking.settings import Storage, s3_environment

_WAIT = 60.0
"""Seconds that the S3 server may take to come up when its bucket is to be made."""


class BucketUnusable(Exception):
    """Why artifacts can't go to the bucket, in one line."""

    def __init__(self, message: str, *, answered: bool) -> None:
        self.answered = answered
        """Whether the server said so, and not the lack of an answer."""
        super().__init__(message)


class BucketMissing(BucketUnusable):
    """There is no such bucket."""


def check(storage: Storage) -> None:
    """Come back where the bucket is there and lets us in; raises `BucketUnusable`."""
    _call(storage, lambda s3: s3.head_bucket(Bucket=storage.bucket))


def create(storage: Storage, wait: float = _WAIT) -> bool:
    """Make the bucket unless it is there, once the server answers; tell whether it was. Raises `BucketUnusable`."""
    deadline = time.monotonic() + wait
    while True:
        try:
            check(storage)
        except BucketMissing:
            _call(storage, lambda s3: s3.create_bucket(Bucket=storage.bucket, **_location(storage, s3)))
            return True
        except BucketUnusable as error:
            if error.answered or time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return False


def _call(storage: Storage, ask: Any) -> None:
    import boto3  # takes half a second, which what needs no bucket is spared
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    os.environ.update({name: value for name, value in s3_environment(storage).items() if name not in os.environ})
    where = f"bucket {storage.bucket} at {storage.endpoint or 'AWS'}"
    try:
        s3 = boto3.client(
            "s3",
            endpoint_url=storage.endpoint,
            verify=None if storage.verify else False,
            config=Config(connect_timeout=5, read_timeout=10, retries={"max_attempts": 2}),
        )
        ask(s3)
    except ClientError as error:
        raise _told(error.response, where) from error
    except NoCredentialsError as error:
        raise BucketUnusable(
            f"{where} needs credentials and none are found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or give the container a role",
            answered=True,
        ) from error
    except (BotoCoreError, ValueError) as error:
        raise BucketUnusable(
            f"{where} can't be reached ({type(error).__name__}): start the S3 server, or mend MLFLOW_S3_ENDPOINT_URL",
            answered=False,
        ) from error


def _told(response: Any, where: str) -> BucketUnusable:
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = response.get("Error", {}).get("Code", "")
    if status == 404:
        return BucketMissing(f"{where} isn't there: create it, or correct ARTIFACTS_BUCKET", answered=True)
    if status in (401, 403):
        return BucketUnusable(
            f"{where} refuses us ({status}): correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or let that user list, read, write and delete in it",
            answered=True,
        )
    if status in (301, 400):
        return BucketUnusable(
            f"{where} answers {status} {code}: set AWS_DEFAULT_REGION to the bucket's region", answered=True
        )
    return BucketUnusable(f"{where} answers {status} {code}: look at the S3 server's log", answered=status < 500)


def _location(storage: Storage, s3: Any) -> dict[str, Any]:
    region = s3.meta.region_name
    if storage.endpoint or region in (None, "us-east-1", "aws-global"):
        return {}
    return {"CreateBucketConfiguration": {"LocationConstraint": region}}
