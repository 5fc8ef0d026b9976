"""A service that speaks S3: where it is, who may use it, and its buckets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An S3 service on this machine.

    Attributes
    ----------
    url : str
        Such as ``http://127.0.0.1:7480``.
    key, secret : str
        Credentials that it knows.
    """

    url: str
    key: str
    secret: str

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which programs find the service, as every S3 client reads them."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def behind(self, url: str) -> Endpoint:
        """The same service through a proxy."""
        return replace(self, url=url)

    def client(self) -> Any:
        """A client that is independent of the one under test."""
        return _client(self)

    def make_bucket(self, name: str) -> str:
        """A new bucket; its URL."""
        self.client().create_bucket(Bucket=name)
        return f"s3://{name}"

    def keys(self, url: str) -> list[str]:
        """Keys below a URL, relative to it."""
        bucket, prefix = _place(url)
        pages = (
            self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        )
        return [item["Key"][len(prefix) :] for page in pages for item in page.get("Contents", ())]

    def objects(self, url: str) -> dict[str, bytes]:
        """Bytes of every object below a URL, by key relative to it."""
        bucket, prefix = _place(url)
        return {
            key: self.client().get_object(Bucket=bucket, Key=prefix + key)["Body"].read()
            for key in self.keys(url)
        }


def _place(url: str) -> tuple[str, str]:
    """Bucket of a URL, and what its keys begin with."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return bucket, f"{prefix}/" if prefix else ""


@lru_cache(maxsize=8)
def _client(endpoint: Endpoint) -> Any:
    """Clients take longer to make than to use."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.key,
        aws_secret_access_key=endpoint.secret,
        region_name=REGION,
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
