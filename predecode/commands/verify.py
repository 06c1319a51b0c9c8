"""predecode verify: the proof of an output, or a look at a source."""

from predecode.api.verify_options import VerifyOptions
from predecode.commands.options import Messages
from predecode.commands.words import with_options
from predecode.errors import EXIT_DONE, EXIT_INCOMPLETE, EXIT_REFUSED

__all__ = ["verify"]


@with_options
def verify(options: VerifyOptions, messages: Messages) -> None:
    """Prove an output: its files, its pictures and its items against the source decoded anew.

    Exit status: 0 proven, 1 something differs or is damaged, 2 could not check.

    Examples:
        predecode verify shards/ --report proof/
        predecode verify shards/ --fast --quiet
        predecode verify --source --src b1k --root data/b1k
    """
    from predecode.api.verify import verify_with
    from predecode.verification.lines import report_lines

    with messages.display() as display:
        found = verify_with(options, display)
    statuses = {"proven": EXIT_DONE, "different": EXIT_INCOMPLETE, "unchecked": EXIT_REFUSED}
    messages.show(found, report_lines(found), statuses[found.status])
