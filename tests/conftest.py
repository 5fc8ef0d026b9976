"""What all tests share: an S3 server, and Hypothesis without deadlines.

A busy machine would miss those.
"""

import signal

from hypothesis import settings

from tests.object_store import bucket, object_server

__all__ = ["bucket", "object_server"]

settings.register_profile("maskmill", deadline=None)
settings.load_profile("maskmill")


def pytest_configure():
    """A shell in the background starts its children deaf to Ctrl-C, which tests send."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
