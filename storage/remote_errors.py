"""What object stores say when they refuse or stay away, as errors that a user can act on.

A client's own text holds request URLs, and the bodies of refusals may hold key ids and what was
signed. Of both only the host, the status and the store's error code go on, so that no
credential reaches a message, a record or a log.
"""

from __future__ import annotations

import errno
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

# The first two of a listing, the third of any answer: the client repeats only what it was
# streaming, an object that is there.
CUT = re.compile(
    r"(invalid list response|list response body|request or response body error)", re.IGNORECASE
)
ACCESS_STATUS = ("401", "403")
ACCESS_CODES = ("ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch")
# Where a machine tells its role; a client asks there when it has no other credentials.
METADATA_HOST = "169.254.169.254"
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or "
    "AWS_SKIP_SIGNATURE=true for a public bucket",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or make default ones with gcloud",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or another of Azure's ways",
}


class StoreAccessError(PermissionError):
    """An object store refuses this user; every request would meet the same."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.errno = errno.EACCES


class StoreUnavailableError(ConnectionError):
    """An object store gave no usable answer until the deadline."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.errno = errno.EHOSTUNREACH


class CutAnswerError(StoreUnavailableError):
    """The answer ended early, and the client does not repeat what it asked."""


@contextmanager
def readable(url: str, key: str = "") -> Iterator[None]:
    """Turn what the client of an object store raises into errors with advice.

    An object that is there already (``AlreadyExistsError``) is left to the caller.

    Raises
    ------
    FileNotFoundError
        If the object or its bucket is not there.
    StoreAccessError
        If credentials are missing, wrong or not enough.
    StoreUnavailableError
        If the store gave no answer, or only failures, until the deadline.
    StorageError
        If the store refuses the request itself.
    """
    from obstore.exceptions import AlreadyExistsError, BaseError

    place = f"{url}/{key}" if key else url
    try:
        yield
    except AlreadyExistsError:
        raise
    except FileNotFoundError as error:
        raise _absent(place, str(error)) from None
    except BaseError as error:
        # The client's text stays out of the chain too: tracebacks go into failure records.
        raise _translated(place, str(error)) from None


def status_of(text: str) -> str:
    """Status of the answer a client's error tells of, such as ``501``; empty if none came."""
    found = re.search(r"status code: (\d{3})", text)
    return found[1] if found else ""


def missing_credentials(place: str) -> str:
    """Message for a URL, or its scheme with ``://``, that no credentials are known for."""
    return f"{place}: no credentials were found; set {CREDENTIALS[place.partition('://')[0]]}"


def _absent(place: str, text: str) -> FileNotFoundError:
    if "NoSuchBucket" in text:
        return FileNotFoundError(f"{place}: there is no such bucket; make it or check its name")
    return FileNotFoundError(f"{place} is not there")


def _translated(place: str, text: str) -> Exception:
    status, code = status_of(text), _code(text)
    answer = " ".join(filter(None, (status, code)))
    if METADATA_HOST in text:
        return StoreAccessError(missing_credentials(place))
    if status in ACCESS_STATUS or code in ACCESS_CODES or _lacks_access(text):
        return StoreAccessError(
            f"{place}: the store refuses access ({answer or 'not authenticated'}); check the "
            "credentials, and that they may read and write here"
        )
    if status == "404":
        return _absent(place, text)
    if status.startswith(("3", "4")) and status not in ("408", "429"):
        return StorageError(
            f"{place}: the store refuses the request ({answer}); check bucket, region and endpoint"
        )
    kind = CutAnswerError if CUT.search(text) else StoreUnavailableError
    return kind(
        f"{place}: no usable answer from {_host(text)} {_effort(text)}({answer or _cause(text)}); "
        "check the endpoint, the network and the store, or give it longer with "
        "MASKMILL_STORE_DEADLINE"
    )


def _lacks_access(text: str) -> bool:
    return text.startswith(("The operation lacked", "Generic S3 error: Missing credentials"))


def _code(text: str) -> str:
    """The store's own word for a refusal, such as ``SlowDown``."""
    found = re.search(r"<Code>(\w{1,64})</Code>", text)
    return found[1] if found else ""


def _host(text: str) -> str:
    found = re.search(r"https?://[\w.:\[\]-]+", text)
    return found[0] if found else "the store"


def _effort(text: str) -> str:
    """How long and how often it was tried."""
    found = re.search(r" in ([\d.]+[mµn]?s)(?:, after (\d+) retries)?", text)
    if found is None:
        return ""
    again = f" and {found[2]} repetitions" if found[2] else ""
    return f"in {found[1]}{again} "


def _cause(text: str) -> str:
    """The last part of the client's first line, which holds neither URL nor body."""
    first = text.split("\n", 1)[0].rpartition(" - ")[2]
    return re.sub(r"https?://\S+", "…", first)[:120].strip()
