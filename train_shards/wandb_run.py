"""Runs in wandb: whose, where, and off line without a key. The only file that knows wandb."""

import netrc
import os
from typing import Any
from urllib.parse import urlparse

from train_shards.errors import UserError

__all__ = ["has_wandb_key", "start_wandb"]

_WANDB_URL = "https://api.wandb.ai"


def start_wandb(asked: str, instead: str, **options: Any) -> Any:
    """Returns a new run of wandb.

    Project and entity come from WANDB_PROJECT and WANDB_ENTITY. Without an API key, in
    WANDB_API_KEY or .netrc, the run is offline; WANDB_MODE overrides this.

    Args:
        asked: the words that asked for it, for messages.
        instead: what to do without wandb.
        options: further arguments of ``wandb.init``.

    Raises:
        UserError: wandb is not installed, or refuses.
    """
    try:
        import wandb
    except ImportError as error:
        raise UserError(
            f"{asked}: wandb is not installed. Install predecode[wandb], or {instead}."
        ) from error
    try:
        return wandb.init(
            project=os.environ.get("WANDB_PROJECT", "predecode"),
            entity=os.environ.get("WANDB_ENTITY"),
            mode=None if "WANDB_MODE" in os.environ or has_wandb_key() else "offline",
            **options,
        )
    except wandb.Error as error:
        raise UserError(f"{asked}: {error} Set WANDB_MODE=offline, or {instead}.") from error


def has_wandb_key() -> bool:
    """Whether WANDB_API_KEY or .netrc has a key for the server of WANDB_BASE_URL."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", _WANDB_URL)).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False
