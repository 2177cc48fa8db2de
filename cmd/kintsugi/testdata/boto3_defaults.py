"""Stores and gets objects with boto3 as it is out of the box; exits with 1 on the first surprise."""

import hashlib
import io
import os
import sys
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

BUCKET = "boto3-defaults"
s3 = boto3.client("s3", endpoint_url=sys.argv[1])


def expect_error(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as e:
        assert e.response["Error"]["Code"] in (code, "404"), e
        return
    raise AssertionError(f"no {code}")


s3.create_bucket(Bucket=BUCKET)
assert BUCKET in [b["Name"] for b in s3.list_buckets()["Buckets"]]

# Small, empty and odd objects, with metadata and names that need escaping.
bodies = {"small": b"hello", "empty": b"", "a/b/\u00fc +&%41": os.urandom(100_003)}
for key, body in bodies.items():
    put = s3.put_object(Bucket=BUCKET, Key=key, Body=body, ContentType="text/x-test", Metadata={"who": "me"})
    assert put["ETag"] == '"%s"' % hashlib.md5(body).hexdigest(), put
    got = s3.get_object(Bucket=BUCKET, Key=key)
    assert got["Body"].read() == body, key
    assert got["ContentType"] == "text/x-test" and got["Metadata"] == {"who": "me"}, got
assert s3.get_object(Bucket=BUCKET, Key="small", Range="bytes=1-3")["Body"].read() == b"ell"
expect_error("NoSuchKey", s3.get_object, Bucket=BUCKET, Key="missing")
expect_error("NoSuchKey", s3.head_object, Bucket=BUCKET, Key="missing")

# A managed transfer: 20 MiB makes boto3 use multipart.
large = os.urandom(20 * 1024 * 1024 + 7)
s3.upload_fileobj(io.BytesIO(large), BUCKET, "large")
back = io.BytesIO()
s3.download_fileobj(BUCKET, "large", back)
assert back.getvalue() == large
assert s3.head_object(Bucket=BUCKET, Key="large")["ETag"].endswith('-3"')
s3.copy({"Bucket": BUCKET, "Key": "large"}, BUCKET, "copy")
assert s3.get_object(Bucket=BUCKET, Key="copy")["Body"].read() == large

# Presigned URLs, which browsers and curl use. Only for these boto3 still falls back to signature version 2.
signer = boto3.client("s3", endpoint_url=sys.argv[1], config=Config(signature_version="s3v4"))
url = signer.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "small"})
assert urllib.request.urlopen(url).read() == b"hello"

# Pages of a listing, then everything away.
pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 2})
keys = [o["Key"] for page in pages for o in page.get("Contents", [])]
assert keys == sorted([*bodies, "large", "copy"], key=str.encode), keys
folded = s3.list_objects_v2(Bucket=BUCKET, Delimiter="/")
assert [p["Prefix"] for p in folded["CommonPrefixes"]] == ["a/"], folded
expect_error("BucketNotEmpty", s3.delete_bucket, Bucket=BUCKET)
deleted = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": k} for k in keys]})
assert len(deleted["Deleted"]) == len(keys) and "Errors" not in deleted, deleted
s3.delete_bucket(Bucket=BUCKET)
