"""Credentials for object stores, as far as the client does not find them itself.

The client reads each provider's variables and asks the machine it runs on for a role. Added here
are the shared files of AWS, and a quick answer where there is nobody to ask.
"""

from __future__ import annotations

import socket
from configparser import ConfigParser
from configparser import Error as ConfigError
from pathlib import Path
from typing import TYPE_CHECKING

from storage.errors import StorageError
from storage.remote_errors import METADATA_HOST, StoreAccessError, missing_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

ENDPOINTS: dict[str, tuple[str, ...]] = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
    "gs": (),
}
OTHER_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}
UNREAD = ("sso_session", "sso_start_url", "credential_process", "role_arn")

# Any of these, and no role of the machine is needed.
ENOUGH: dict[str, tuple[str, ...]] = {
    "s3": (*OTHER_CREDENTIALS, "access_key_id", "AWS_METADATA_ENDPOINT"),
    "gs": (
        *("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SKIP_SIGNATURE"),
        *("GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY"),
    ),
}
GOOGLE_DEFAULT = "~/.config/gcloud/application_default_credentials.json"
METADATA_SECONDS = 2.0


def check_credentials(scheme: str, given: Mapping[str, str]) -> None:
    """Refuse at once where no credentials are given and no machine role can be asked for.

    The client would ask for one until its deadline.

    Parameters
    ----------
    scheme : {"s3", "gs", "az"}
        Of the URL.
    given : mapping
        Environment variables, and what shared files add.

    Raises
    ------
    StoreAccessError
        If there are none.
    """
    if scheme not in ENOUGH or any(given.get(name) for name in ENOUGH[scheme]):
        return
    if scheme == "gs" and Path(GOOGLE_DEFAULT).expanduser().is_file():
        return
    try:
        socket.create_connection((METADATA_HOST, 80), METADATA_SECONDS).close()
    except OSError:
        raise StoreAccessError(missing_credentials(f"{scheme}://")) from None


def shared_options(environ: Mapping[str, str]) -> dict[str, str]:
    """What ``~/.aws/credentials`` and ``~/.aws/config`` add to the environment.

    Parameters
    ----------
    environ : mapping
        AWS_PROFILE chooses the profile; variables that are set win over the files.

    Returns
    -------
    dict
        Of ``access_key_id``, ``secret_access_key``, ``session_token``, ``region`` and
        ``endpoint`` those that the environment does not give.

    Raises
    ------
    StorageError
        If the profile named is not there, or gets its keys in a way that is not supported.
    """
    named = environ.get("AWS_PROFILE", "")
    found = _profile(environ, named or "default")
    if named and not found:
        raise StorageError(
            f"AWS_PROFILE is {named!r}, and ~/.aws/credentials and ~/.aws/config have no such "
            "profile; check its name"
        )
    options = {}
    if not any(environ.get(name) for name in OTHER_CREDENTIALS):
        options = {ours: found[name] for name, ours in KEYS.items() if name in found}
        _check_keys(named, found, options)
    if not (environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")) and "region" in found:
        options["region"] = found["region"]
    if not any(environ.get(name) for name in ENDPOINTS["s3"]) and "endpoint_url" in found:
        options["endpoint"] = found["endpoint_url"]
    return options


def _check_keys(named: str, found: Mapping[str, str], options: Mapping[str, str]) -> None:
    ways = [name for name in UNREAD if name in found]
    if named and ways and "access_key_id" not in options:
        raise StorageError(
            f"AWS_PROFILE {named!r} gets its keys by {ways[0]}, which is not supported; put them "
            "into the environment: eval $(aws configure export-credentials --format env)"
        )


def _profile(environ: Mapping[str, str], name: str) -> dict[str, str]:
    config = _section(
        environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
        name if name == "default" else f"profile {name}",
    )
    return config | _section(environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), name)


def _section(path: str, name: str) -> dict[str, str]:
    parser = ConfigParser(interpolation=None, default_section="", strict=False)
    try:
        parser.read(Path(path).expanduser(), encoding="utf-8")
    except (ConfigError, UnicodeDecodeError):
        # What the file holds is secret, and the parser's message quotes it.
        raise StorageError(f"{path} is no AWS profile file; mend or move it") from None
    return dict(parser[name]) if parser.has_section(name) else {}
