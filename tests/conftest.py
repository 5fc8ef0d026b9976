"""What all tests share: an S3 server, and Hypothesis without deadlines.

A busy machine would miss those.
"""

from hypothesis import settings

from tests.object_store import bucket, object_server

__all__ = ["bucket", "object_server"]

settings.register_profile("maskmill", deadline=None)
settings.load_profile("maskmill")
