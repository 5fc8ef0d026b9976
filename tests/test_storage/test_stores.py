import pickle
import socket
import time
from pathlib import Path

import pytest
from zarr.storage import LocalStore

from storage import credentials
from storage.blobs import Blobs
from storage.credentials import check_credentials, shared_options
from storage.errors import StorageError
from storage.remote_errors import StoreAccessError, StoreUnavailableError
from storage.remote_options import store_options
from storage.remote_store import RemoteStore
from storage.stores import is_local, join_url, normalize_url, open_remote, open_store


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


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://user:hunter2@bucket/fly.zarr", "holds more than bucket and key; credentials come"),
        ("az://container/fly.zarr?sig=hunter2", "holds more than bucket and key; credentials come"),
        ("gs://bucket/fly.zarr#hunter2", "holds more than bucket and key; credentials come"),
        ("https://user:hunter2@host/x?hunter2", "has the scheme 'https'; use a path"),
        ("s3://", "names no bucket; expected s3://BUCKET/KEY"),
        ("s3:///fly.zarr", "names no bucket; expected s3://BUCKET/KEY"),
        ("s3://bucket/a/../b", "has an empty part, . or .."),
        ("s3://bucket/a//b", "has an empty part, . or .."),
    ],
)
def test_remote_urls_that_are_refused(url, message):
    with pytest.raises(StorageError, match=message) as caught:
        normalize_url(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("read_only", [True, False])
def test_open_store(tmp_path, bucket, read_only):
    local = open_store(f"file://{tmp_path}", read_only=read_only)
    remote = open_store(f"{bucket}/fly.zarr", read_only=read_only)
    assert isinstance(local, LocalStore)
    assert local.root == tmp_path
    assert isinstance(remote, RemoteStore)
    assert remote.url == f"{bucket}/fly.zarr"
    assert (local.read_only, remote.read_only) == (read_only, read_only)


# Nobody is asked for credentials.
ANYBODY = {"AWS_SKIP_SIGNATURE": "true", "GOOGLE_SKIP_SIGNATURE": "true"}
# Scheme, environment, and whether plain HTTP is allowed.
PLAIN = [
    ("s3", {}, False),
    ("s3", {"AWS_ENDPOINT_URL": "https://store"}, False),
    ("s3", {"AWS_ENDPOINT_URL": "http://store"}, True),
    ("s3", {"AWS_ENDPOINT_URL_S3": "https://store", "AWS_ENDPOINT_URL": "http://other"}, False),
    ("s3", {"AZURE_ENDPOINT": "http://store"}, False),
    ("az", {"AZURE_ENDPOINT": "http://store"}, True),
    ("gs", {"AWS_ENDPOINT_URL": "http://store"}, False),
]


@pytest.mark.parametrize(("scheme", "environ", "plain"), PLAIN)
def test_plain_http_only_where_the_endpoint_says_so(scheme, environ, plain):
    options = store_options(scheme, ANYBODY | environ)
    assert options["client_options"].get("allow_http", False) is plain


def test_patience_comes_from_the_environment():
    chosen = {"MASKMILL_STORE_DEADLINE": "7.5", "MASKMILL_STORE_TIMEOUT": "3"}
    for environ, deadline, timeout in (({}, 180, 60), (chosen, 7.5, 3)):
        options = store_options("gs", ANYBODY | environ)
        assert options["retry_config"]["retry_timeout"].total_seconds() == deadline
        assert options["client_options"]["timeout"].total_seconds() == timeout


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_patience_that_is_no_number_of_seconds(text):
    with pytest.raises(StorageError, match=r"MASKMILL_STORE_DEADLINE is .*; expected seconds"):
        store_options("gs", {"MASKMILL_STORE_DEADLINE": text})


@pytest.fixture
def aws_files(tmp_path):
    """The two shared files of AWS; the environment that leads to them."""
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = AD\naws_secret_access_key = SD\n"
        "[lab]\naws_access_key_id=AL\naws_secret_access_key=S%L\naws_session_token=TL\n"
    )
    (tmp_path / "config").write_text(
        "[default]\nregion = eu-west-1\n"
        "[profile lab]\nregion = us-west-2\nendpoint_url = http://lab\ns3 =\n  x = y\n"
        "[profile sso]\nsso_session = s\n"
    )
    return {
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
    }


DEFAULT = {"access_key_id": "AD", "secret_access_key": "SD", "region": "eu-west-1"}
LAB = {
    "access_key_id": "AL",
    "secret_access_key": "S%L",
    "session_token": "TL",
    "region": "us-west-2",
    "endpoint": "http://lab",
}
# What the environment says, and what the files add to it.
ADDED = [
    ({}, DEFAULT),
    ({"AWS_PROFILE": "lab"}, LAB),
    ({"AWS_REGION": "xy"}, {k: DEFAULT[k] for k in ("access_key_id", "secret_access_key")}),
    ({"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S"}, {"region": "eu-west-1"}),
    ({"AWS_SKIP_SIGNATURE": "true"}, {"region": "eu-west-1"}),
    (
        {"AWS_PROFILE": "lab", "AWS_ENDPOINT_URL": "https://other"},
        {k: v for k, v in LAB.items() if k != "endpoint"},
    ),
]


@pytest.mark.parametrize(("environ", "added"), ADDED)
def test_shared_files_of_aws(aws_files, environ, added):
    assert shared_options(aws_files | environ) == added


def test_a_profile_s_endpoint_may_be_plain_http(aws_files):
    options = store_options("s3", aws_files | {"AWS_PROFILE": "lab"})
    assert options["client_options"]["allow_http"] is True
    assert options["config"] == LAB


def test_profiles_that_are_refused(aws_files, tmp_path):
    with pytest.raises(StorageError, match=r"AWS_PROFILE is 'none', and .* have no such profile"):
        shared_options(aws_files | {"AWS_PROFILE": "none"})
    with pytest.raises(StorageError, match="'sso' gets its keys by sso_session, which is not sup"):
        shared_options(aws_files | {"AWS_PROFILE": "sso"})
    (tmp_path / "credentials").write_text("hunter2")
    with pytest.raises(StorageError, match="is no AWS profile file; mend or move it") as caught:
        shared_options(aws_files)
    assert "hunter2" not in str(caught.value)


def test_no_credentials_are_told_at_once(monkeypatch):
    """The client would ask the machine for a role until its deadline."""

    def nobody(address, timeout):
        assert (address, timeout) == (("169.254.169.254", 80), 2.0)
        raise OSError("unreachable")

    monkeypatch.setattr(socket, "create_connection", nobody)
    monkeypatch.setattr(credentials, "GOOGLE_DEFAULT", "none")
    for scheme, told in (("s3", "AWS_ACCESS_KEY_ID"), ("gs", "GOOGLE_APPLICATION_CREDENTIALS")):
        with pytest.raises(StoreAccessError, match=f"no credentials were found; set {told}"):
            check_credentials(scheme, {})
    for scheme, given in (
        ("s3", {"AWS_ACCESS_KEY_ID": "A"}),
        ("s3", {"access_key_id": "A"}),
        ("gs", {"GOOGLE_APPLICATION_CREDENTIALS": "file"}),
        ("az", {}),
    ):
        check_credentials(scheme, given)


def test_the_environment_may_change(bucket, monkeypatch):
    """A client is kept for as long as the settings it was made with hold."""
    first = open_remote(bucket)
    assert open_remote(bucket) is first
    monkeypatch.setenv("MASKMILL_STORE_TIMEOUT", "5")
    assert open_remote(bucket) is not first


# Answer of the store, the error, and what its message says.
ANSWERS = [
    ("403 Access Denied", StoreAccessError, r"refuses access \(403 AccessDenied\); check the cred"),
    ("400 Expired Token", StoreAccessError, r"refuses access \(400 ExpiredToken\)"),
    (
        "400 Bad Digest",
        StorageError,
        r"refuses the request \(400 BadDigest\); check bucket, region",
    ),
    ("503 Slow Down", StoreUnavailableError, r"no usable answer from http://127.0.0.1:\d+ in "),
    ("500 Internal Error", StoreUnavailableError, r"repetitions \(500 InternalError\)"),
    ("404 No Such Bucket", FileNotFoundError, "there is no such bucket; make it or check its name"),
]


@pytest.mark.parametrize(("answer", "error", "message"), ANSWERS)
def test_refusals_have_advice_and_no_secrets(
    bucket, object_server, monkeypatch, answer, error, message
):
    monkeypatch.setenv("MASKMILL_STORE_DEADLINE", "1")
    blobs = Blobs(f"{bucket}/run")
    with object_server.answering(lambda asked: answer):
        for act in (
            lambda: blobs.read("key"),
            lambda: blobs.write("key", b""),
            lambda: list(blobs.list()),
        ):
            with pytest.raises(error, match=message) as caught:
                act()
            said = str(caught.value)
            assert said.startswith(f"{bucket}/run")
            assert "\n" not in said
            assert "Message" not in said
            assert "tester" not in said
            # Records of failures hold the traceback: the client's own text is not in it.
            assert caught.value.__cause__ is None
            assert caught.value.__suppress_context__


def test_a_store_that_is_away_is_waited_for_until_the_deadline(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MASKMILL_STORE_DEADLINE", "1")
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError, match=r"no usable answer from http://127.0.0.1:9 in"):
        Blobs(bucket).read("key")
    assert 0.5 < time.monotonic() - started < 10


def test_errors_travel_between_processes():
    for error in (StoreAccessError("no entry"), StoreUnavailableError("away")):
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 what was just made
        assert (type(copy), str(copy), copy.errno) == (type(error), str(error), error.errno)
        assert isinstance(copy, OSError)
        assert copy.strerror is None
