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


class StartError(Exception):
    """A reason not to run, in one line, with its exit code.

    Attributes:
        code: The exit code (`Exit`).
    """

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code
