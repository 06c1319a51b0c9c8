"""The reference trainer's settings: words of the command line -> a checked ``TrainConfig``.

Owns Hydra. Its compose interface is used and not its main function, which would write folders and
logs of its own and end every refusal with status 1.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from msgspec import Meta
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from train_shards.errors import UserError

__all__ = ["TrainConfig", "config_text", "load_config"]

_FOLDER = Path(__file__).parent / "conf"
_Count = Annotated[int, Meta(ge=1)]
_Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]


class TrainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every field of ``conf/config.yaml`` and of the chosen ``conf/data/*.yaml``."""

    dataset: str
    """Dotted name of the class of the data set: ``module.Class``."""
    dataset_options: dict[str, Any]
    """Given to it as keywords, with tasks, episodes, windows and layout."""
    shards: str | list[str] | None
    """Outputs; several are read as one data set."""
    root: str | None
    backend: str | None
    exp_name: _Name
    checkpoint_dir: str
    resume: bool
    overwrite: bool
    tasks: list[int | str] | None
    episodes: list[int] | None
    fps: _Count
    action_horizon: _Count
    norm_stats: str | None
    num_train_steps: _Count
    batch_size: _Count
    """Of all ranks together, as in openpi."""
    num_workers: Annotated[int, Meta(ge=0)]
    log_interval: _Count
    save_interval: _Count
    learning_rate: Annotated[float, Meta(gt=0)]
    seed: Annotated[int, Meta(ge=0)]
    device: str | None
    wandb_enabled: bool
    log_samples: bool
    canary_every: Annotated[int, Meta(ge=0)]
    canary_root: str | None
    canary_python: str | None

    @property
    def outputs(self) -> list[str]:
        """The outputs to train from; none with ``data=online``."""
        return [self.shards] if isinstance(self.shards, str) else self.shards or []

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return Path(self.checkpoint_dir) / self.exp_name


def load_config(words: Sequence[str]) -> TrainConfig:
    """Returns the settings that Hydra composes of the packaged files and of ``words``.

    Raises:
        UserError: an unknown field, a value of the wrong type, a field that must be given and is
            not, or ``resume`` together with ``overwrite``.
    """
    try:
        with initialize_config_dir(str(_FOLDER), version_base="1.3"):
            composed = compose("config", overrides=[_listed(word) for word in words])
        missing = sorted(str(key) for key in composed if OmegaConf.is_missing(composed, key))
        if missing:
            raise UserError(f"{missing[0]}: no default; expected {missing[0]}=VALUE.")
        plain = OmegaConf.to_container(composed, resolve=True)
        config = msgspec.convert(plain, TrainConfig)
    except (HydraException, OmegaConfBaseException, msgspec.ValidationError) as error:
        text = " ".join(str(error).split())
        raise UserError(f"settings: {text} (--help lists every field)") from error
    if config.resume and config.overwrite:
        raise UserError(
            "resume=true overwrite=true: expected at most one of them: go on from the newest "
            "checkpoint, or delete the run and begin anew."
        )
    if config.shards is None and config.norm_stats is None and not config.resume:
        raise UserError(
            "norm_stats: data=online has no tables to make statistics of. Give norm_stats=FILE or "
            "shards=DIR; 'python -m train_shards.norm_stats root=DIR method=upstream' makes a file "
            "of the source alone."
        )
    if config.canary_every and (config.canary_root is None or config.shards is None):
        raise UserError(
            f"canary_every={config.canary_every}: expected data=shards and canary_root=DIR, the "
            "folder that the shards were made from."
        )
    if config.canary_every and len(config.outputs) > 1:
        raise UserError(
            f"canary_every={config.canary_every}: it decodes from one source; expected one output "
            f"in shards=, got {len(config.outputs)}."
        )
    return config


def _listed(word: str) -> str:
    """``shards=A,B`` as Hydra's list; Hydra itself would take it for two runs."""
    key, _, value = word.partition("=")
    if key != "shards" or "," not in value or value[0] in "['\"" or Path(value).exists():
        return word
    escaped = [name.replace("\\", "\\\\").replace("'", "\\'") for name in value.split(",")]
    return "shards=[" + ",".join(f"'{name}'" for name in escaped) + "]"


def config_text() -> str:
    """Returns the packaged files with their comments, for ``--help``."""
    paths = [_FOLDER / "config.yaml", *sorted((_FOLDER / "data").glob("*.yaml"))]
    return "\n".join(
        f"--- {path.relative_to(_FOLDER).as_posix()}\n{path.read_text()}" for path in paths
    )
