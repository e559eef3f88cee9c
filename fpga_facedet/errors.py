"""The two kinds of failure the product knows, and the exit code of each."""


class FacedetError(Exception):
    """Base of every error whose message is meant for a person: one sentence with what, which value, what to do."""

    exit_code = 1


class UserError(FacedetError):
    """The user can put it right: a missing file, a wrong value, a busy port (exit code 2)."""

    exit_code = 2


class InternalError(FacedetError):
    """Ours: a step changed the mathematics, a tool failed where it should not (exit code 1)."""

    exit_code = 1
