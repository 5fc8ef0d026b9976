"""The services, started once for all tests; a test whose service is absent says so."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from uuid import uuid4

import pytest

from flows.prefect_server import EMBEDDED
from tests.services.ceph import ceph_gateway
from tests.services.daemons import HOST, ServiceAbsentError, await_port, daemon, free_ports
from tests.services.mitm import fault_proxy
from tests.services.swift import swift_gateway

SERVER_SECONDS = 300.0


@contextmanager
def or_skip():
    """Skip, loudly, what needs a service that is not installed."""
    try:
        yield
    except ServiceAbsentError as error:
        pytest.skip(f"NOT TESTED: {error}")


@pytest.fixture(scope="session")
def settings(tmp_path_factory):
    """Variables by which commands find the one Prefect server of the session, quietly."""
    home = tmp_path_factory.mktemp("prefect")
    quiet = {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    (port,) = free_ports(1)
    arguments = [sys.executable, "-m", "flows.prefect_server", str(port), str(os.getpid())]
    log = home / "server.txt"
    with daemon(arguments, log, env={**quiet, **EMBEDDED, "DO_NOT_TRACK": "1"}) as process:
        await_port(port, process, log, SERVER_SECONDS)
        yield {**quiet, "PREFECT_API_URL": f"http://{HOST}:{port}/api"}


@pytest.fixture(scope="session")
def ceph():
    """A Ceph cluster of one host."""
    with or_skip(), ceph_gateway() as running:
        yield running


@pytest.fixture(scope="session")
def swift():
    """A Swift of one device."""
    with or_skip(), swift_gateway() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(ceph):
    """URL of an empty bucket."""
    return ceph.endpoint.make_bucket(f"b{uuid4().hex[:12]}")


@pytest.fixture
def proxy(ceph, tmp_path):
    """A proxy in front of Ceph that disturbs nothing yet."""
    with or_skip(), fault_proxy(ceph.endpoint.url, tmp_path) as running:
        yield running
