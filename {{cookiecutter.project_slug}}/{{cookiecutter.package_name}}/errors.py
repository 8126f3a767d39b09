"""The errors that a user can cause: one clear line each, and an exit code."""


class UserError(Exception):
    """Something that the user can put right; the message says how."""

    exit_code = 2


class ConfigurationError(UserError):
    """A setting or an input file is not usable."""


class RewindFailed(UserError):
    """The disk kept a rewind from coming to its end. Nothing is lost."""

    exit_code = 1


class RunLocked(UserError):
    """Another process trains this run."""

    exit_code = 5
