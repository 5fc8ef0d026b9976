"""What all tests share: Hypothesis without deadlines, which a busy machine would miss."""

from hypothesis import settings

settings.register_profile("maskmill", deadline=None)
settings.load_profile("maskmill")
