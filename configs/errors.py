"""The errors a user may meet. Each is one sentence: what is wrong, where, and the way out."""


class FacingsError(Exception):
    """The job could not be done; the command ends with exit code 1 and nothing half-written."""

    exit_code = 1


class UsageError(FacingsError):
    """The request itself is wrong (an unknown recipe, a k of 0); the command ends with exit code 2."""

    exit_code = 2
