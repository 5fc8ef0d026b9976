from pathlib import Path

import pytest
from zarr.storage import LocalStore, ObjectStore

from storage.errors import StorageError
from storage.stores import is_local, join_url, normalize_url, open_store


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/data/fly.zarr", "/data/fly.zarr"),
        ("/data/fly.zarr/", "/data/fly.zarr"),
        ("file:///data/fly.zarr", "/data/fly.zarr"),
        ("file:///data/my%20fly.zarr", "/data/my fly.zarr"),
        ("/data/my%20fly.zarr", "/data/my%20fly.zarr"),  # a path is not decoded
        ("s3://bucket/fly.zarr/", "s3://bucket/fly.zarr"),
        ("gs://bucket/a/b.zarr", "gs://bucket/a/b.zarr"),
        ("az://container/fly.zarr//", "az://container/fly.zarr"),
    ],
)
def test_normalize(url, expected):
    assert normalize_url(url) == expected
    assert normalize_url(expected) == expected


def test_relative_and_home_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert normalize_url("fly.zarr") == str(tmp_path / "fly.zarr")
    assert normalize_url("~/fly.zarr") == str(Path.home() / "fly.zarr")


@pytest.mark.parametrize("url", ["http://host/fly.zarr", "ftp://host/x", "S3X://b/k"])
def test_unknown_scheme(url):
    with pytest.raises(StorageError, match=r"has the scheme '.*'; use a path, file://, s3://"):
        normalize_url(url)


def test_empty_url():
    with pytest.raises(StorageError, match="an empty URL was given; give a path"):
        normalize_url("")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("s3://b/fly.zarr", "labels", "truth"), "s3://b/fly.zarr/labels/truth"),
        (("/data/fly.zarr/", "/0/"), "/data/fly.zarr/0"),
        (("/data/fly.zarr",), "/data/fly.zarr"),
        (("s3://b", "a/b", "c"), "s3://b/a/b/c"),
    ],
)
def test_join(parts, expected):
    assert join_url(*parts) == expected


@pytest.mark.parametrize(
    ("url", "local"),
    [("/data", True), ("data", True), ("file:///data", True), ("s3://b", False), ("az://c", False)],
)
def test_is_local(url, local):
    assert is_local(url) == local


@pytest.mark.parametrize("read_only", [True, False])
def test_open_store(tmp_path, monkeypatch, read_only):
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    local = open_store(f"file://{tmp_path}", read_only=read_only)
    remote = open_store("s3://bucket/fly.zarr", read_only=read_only)
    assert isinstance(local, LocalStore)
    assert local.root == tmp_path
    assert isinstance(remote, ObjectStore)
    assert (local.read_only, remote.read_only) == (read_only, read_only)
