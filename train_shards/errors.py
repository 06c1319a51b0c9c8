"""The two errors that both packages raise; every message says where, what, and what to do.

Fields live in ``args``, so that an error crosses process borders (pickling) with its message.
"""

__all__ = ["DataError", "UserError"]


class UserError(Exception):
    """A setting, path or command that cannot be carried out; raised before any work.

    ``args`` is ``(message,)``.
    """


class DataError(Exception):
    """Stored or source data that is not what its description says.

    ``args`` is ``(message,)``.
    """
