"""predecode run: a data set into shards."""

from predecode.api.run_options import RunOptions
from predecode.commands.options import ConfigOption, Messages
from predecode.commands.summary import finish
from predecode.commands.words import with_options

__all__ = ["run"]


@with_options
def run(options: RunOptions, messages: Messages, _config: ConfigOption = None) -> None:
    """Decode a data set into shards; the same command again finishes an interrupted run.

    Exit status: 0 done, 1 more episodes are missing than --max-failures, 2 refused before any work,
    3 a disk, node or cluster failed. What a run did is kept in .predecode/log of the output.

    Examples:
        predecode run --src b1k --out shards/
        predecode run --src b1k --tasks 0,3-7 --out s3://bucket/shards --num-cpus 8 --quiet
        predecode run --config run.toml --out shards/
    """
    from predecode.api.run import run_with

    with messages.display() as display:
        result = run_with(options, display)
    finish(result, messages)
