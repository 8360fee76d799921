"""The bucket for artifacts, over boto3, which finds region and credentials in this process's environment."""

from collections.abc import Mapping
from typing import Any

from tracking.settings import is_on

_CREDENTIALS = (
    "correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and allow this user to list, read, write and delete objects"
)
_REGION = "set AWS_DEFAULT_REGION to the bucket's region"
_HINTS = {
    301: _REGION,
    400: _REGION,
    401: _CREDENTIALS,
    403: _CREDENTIALS,
    404: "create the bucket, or correct ARTIFACTS_BUCKET",
}


class BucketUnusable(Exception):
    """Why artifacts cannot go to the bucket, in one line without a secret; `status` is 0 without an answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


def check(values: Mapping[str, str]) -> None:
    """Raise `BucketUnusable` unless the bucket exists and our credentials may use it."""
    _request(values, "head_bucket")


def create(values: Mapping[str, str], attempts: int = 12) -> bool:
    """Create the bucket unless it exists, and return whether it is new; an S3 server may take a minute to start."""
    try:
        _request(values, "head_bucket", attempts)
    except BucketUnusable as error:
        if error.status != 404:
            raise
    else:
        return False
    region = values.get("AWS_DEFAULT_REGION", "us-east-1")
    is_default = "MLFLOW_S3_ENDPOINT_URL" in values or region == "us-east-1"
    options: dict[str, Any] = {} if is_default else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    _request(values, "create_bucket", **options)
    return True


def _request(values: Mapping[str, str], operation: str, attempts: int = 2, **options: Any) -> None:
    import boto3  # takes half a second, which the health check can do without
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    endpoint, bucket = values.get("MLFLOW_S3_ENDPOINT_URL"), values["ARTIFACTS_BUCKET"]
    retries = {"mode": "standard", "total_max_attempts": attempts}
    label = f"bucket {bucket} at {endpoint or 'AWS'}"
    try:
        s3 = boto3.client(
            "s3",
            endpoint_url=endpoint,
            verify=False if is_on(values, "MLFLOW_S3_IGNORE_TLS") else None,
            config=Config(connect_timeout=5, read_timeout=10, retries=retries),
        )
        getattr(s3, operation)(Bucket=bucket, **options)
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code", "")
        hint = _HINTS.get(status, "check the S3 server's log")
        raise BucketUnusable(f"{label} returned {status} {code}: {hint}", status) from error
    except NoCredentialsError as error:
        hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the container a role"
        raise BucketUnusable(f"no credentials for {label}: {hint}") from error
    except (BotoCoreError, ValueError) as error:
        hint = "start the S3 server, or correct MLFLOW_S3_ENDPOINT_URL"
        raise BucketUnusable(f"{label} can't be reached ({type(error).__name__}): {hint}") from error
