import pytest

from storage.blobs import Blobs
from storage.errors import StorageError
from storage.remote_errors import StoreAccessError, StoreUnavailableError
from storage.requests import Lap
from storage.store_probe import check_store


def test_a_good_store_is_asked_once(bucket, object_server):
    lap = Lap()
    check_store(f"{bucket}/a")
    # Put, put again, read, list, remove, list.
    assert object_server.methods() == ["PUT", "PUT", "GET", "GET", "POST", "GET"]
    counted = lap()
    assert {kind: counted[kind] for kind in ("put", "get", "list", "delete")} == {
        "put": 2,
        "get": 1,
        "list": 2,
        "delete": 1,
    }
    check_store(f"{bucket}/a/")
    assert object_server.methods() == []
    check_store(f"{bucket}/b")
    assert len(object_server.methods()) == 6
    assert list(Blobs(bucket).list()) == []


def absent(asked):
    return asked.method == "PUT" and asked.only_if_absent


def test_a_store_without_conditional_put(bucket, object_server):
    """It says so: one message after a few repetitions, not after the whole deadline."""
    with (
        object_server.answering(lambda asked: "501 Not Implemented" if absent(asked) else None),
        pytest.raises(StorageError, match="this store cannot put an object only where there is no"),
    ):
        check_store(bucket)
    assert object_server.methods().count("PUT") <= 6


def test_a_store_that_overlooks_the_condition(bucket, object_server, monkeypatch):
    serve = object_server.serve

    def careless(app, environ, start_response):
        environ.pop("HTTP_IF_NONE_MATCH", None)
        return serve(app, environ, start_response)

    monkeypatch.setattr(object_server, "serve", careless)
    with pytest.raises(StorageError, match="this store replaces an object that was to be put only"):
        check_store(bucket)
    assert list(Blobs(bucket).list()) == []


@pytest.mark.parametrize(
    ("shown", "message"),
    [
        (b"", "this store does not list at once what was put"),
        (b"<Contents><Key>%s</Key><LastModified>2000-01-01T00:00:00.000Z</LastModified>"
         b"<ETag>1</ETag><Size>16</Size></Contents>", "this store still lists what was removed"),
    ],
)  # fmt: skip
def test_a_store_whose_listing_is_late(bucket, object_server, monkeypatch, shown, message):
    """It answers every listing from before the last write."""
    serve, keys = object_server.serve, []

    def late(app, environ, start_response):
        if environ["REQUEST_METHOD"] == "PUT":
            keys.append(environ["PATH_INFO"].split("/", 2)[2].encode())
        if "list-type" not in environ["QUERY_STRING"]:
            return serve(app, environ, start_response)
        found = b"<ListBucketResult>%s</ListBucketResult>"
        found %= shown % keys[0] if b"%s" in shown else shown
        start_response("200 OK", [("Content-Length", str(len(found)))])
        return [found]

    monkeypatch.setattr(object_server, "serve", late)
    with pytest.raises(StorageError, match=message):
        check_store(bucket)


def test_a_lost_acknowledgement_is_no_fault(bucket, object_server):
    seen = []

    def lose_first(asked):
        seen.append(asked)
        return "lost 500 Internal Error" if len(seen) == 1 else None

    with object_server.answering(lose_first):
        check_store(bucket)


def test_throttling_is_no_fault(bucket, object_server):
    """More failures than the quick part repeats: the whole deadline counts, not their number."""
    seen = []

    def busy(asked):
        seen.append(asked)
        return "503 Slow Down" if len(seen) <= 7 else None

    with object_server.answering(busy):
        check_store(bucket)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ("403 Access Denied", StoreAccessError, "refuses access"),
        ("503 Slow Down", StoreUnavailableError, "no usable answer from"),
        ("404 No Such Bucket", StorageError, "there is no such bucket"),
    ],
)
def test_what_else_may_be_wrong(bucket, object_server, monkeypatch, answer, error, message):
    monkeypatch.setenv("MASKMILL_STORE_DEADLINE", "0.3")
    with (
        object_server.answering(lambda asked: answer),
        pytest.raises(error, match=message),
    ):
        Blobs(f"{bucket}/run").check_writable()
    # What failed is asked again.
    Blobs(f"{bucket}/run").check_writable()
