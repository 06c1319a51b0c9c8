"""Errors of the reading side; every message says where, what, and what to do.

Fields live in ``args``, so that an error crosses process borders (pickling) with its message.
"""

__all__ = ["EXIT_STATUS", "DataError", "StorageError", "UserError"]


class UserError(Exception):
    """A setting, path or command that cannot be carried out; raised before any work.

    ``args`` is ``(message,)``.
    """


class DataError(Exception):
    """Stored or source data that is not what its description says.

    ``args`` is ``(message,)``.
    """


class StorageError(Exception):
    """A storage that does not answer as it should, after several attempts; the data may be fine.

    ``args`` is ``(message,)``.
    """


EXIT_STATUS: dict[type[Exception], int] = {UserError: 2, DataError: 1, StorageError: 3}
"""Status of a command that ends with such an error. Source: README, exit status."""
