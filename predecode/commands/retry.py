"""predecode retry: quarantined episodes once more."""

from predecode.api.retry_options import RetryOptions
from predecode.commands.options import Messages
from predecode.commands.summary import finish
from predecode.commands.words import with_options

__all__ = ["retry"]


@with_options
def retry(options: RetryOptions, messages: Messages) -> None:
    """Try quarantined episodes again after a repair; what succeeds is added as new shards.

    Exit status: as of 'predecode run'.

    Examples:
        predecode retry shards/
        predecode retry shards/ --episodes 00490010 --backend torchcodec
    """
    from predecode.api.retry import retry_with

    with messages.display() as display:
        result = retry_with(options, display)
    finish(result, messages)
