"""What stops the program, each with an exit code of its own."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the program."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DEPENDENCY = 3
    PORT = 4
    ENGINE = 5
    SECRET = 6
    DATA_DIR = 7


def connection_error(error: BaseException) -> str:
    """Return what went wrong with a connection, in few words: the cause that a library wrapped, if any."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    return str(cause) or type(cause).__name__


class StartError(Exception):
    """A reason not to run, in one line, with its exit code.

    Attributes:
        code: The exit code (`Exit`).
    """

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code
