"""``python -m train_shards.launch data=… SCRIPT …``: an unedited training script, fed by us.

Runs SCRIPT as ``python SCRIPT …`` would, with its data set and sampler replaced. ``docs/launch.md``
tells what is replaced, where, and how a run resumes.
"""

import difflib
import os
import re
import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from train_shards.errors import EXIT_STATUS, UserError
from train_shards.feeding import Feeding
from train_shards.manifest import load_manifest
from train_shards.replace import install
from train_shards.sampling import world

__all__ = ["LaunchWords", "main"]

_USAGE = """\
usage: python -m train_shards.launch data=shards|online|upstream [WORD=VALUE …] SCRIPT …
  data=shards    [shards=DIR]    train from an output of predecode; without DIR, the data set's
                                 own root is one
  data=online    root=DIR [backend=pyav|torchcodec|video_reader]    decode while training
  data=upstream                  run SCRIPT as it is
  seed=N  shuffle=global|block|none  resume_step=N  run_dir=DIR    with shards and online
  canary_every=N canary_root=DIR [canary_python=PYTHON]    with shards: decode a sample again
Everything from SCRIPT on is the script's own."""

_FEEDING_WORDS = {"seed", "shuffle", "resume_step", "run_dir"}
_CANARY_WORDS = {"canary_every", "canary_root", "canary_python"}
_WORDS = {
    "shards": {"shards", *_FEEDING_WORDS, *_CANARY_WORDS},
    "online": {"root", "backend", *_FEEDING_WORDS},
    "upstream": set[str](),
}
_CHOICES = {
    "data": tuple(_WORDS),
    "backend": ("pyav", "torchcodec", "video_reader"),
    "shuffle": ("global", "block", "none"),
}


@dataclass(frozen=True)
class LaunchWords:
    """The words before the script, checked, and the script with its own."""

    words: dict[str, str]
    script: str
    script_words: tuple[str, ...]

    @classmethod
    def parse(cls, argv: Sequence[str]) -> "LaunchWords":
        """Returns what ``argv`` (without the program's name) says.

        Raises:
            UserError: a word that is unknown, given twice, does not belong to ``data=``, or has a
                value that it cannot have; no ``data=`` or no script.
        """
        words: dict[str, str] = {}
        rest = list(argv)
        while rest and (match := re.fullmatch(r"([A-Za-z_]+)=(.*)", rest[0])):
            key, value = match.groups()
            if key in words:
                raise UserError(f"{key}=: given twice, {words[key]!r} and {value!r}.")
            words[key] = value
            rest.pop(0)
        known = {"data"}.union(*_WORDS.values())
        for key, value in words.items():
            _check_word(key, value, known)
        data = words.get("data")
        if data is None:
            raise UserError(f"no data=: expected one of {', '.join(_CHOICES['data'])}.\n{_USAGE}")
        strangers = sorted(set(words) - {"data"} - _WORDS[data])
        if strangers:
            allowed = ", ".join(f"{word}=" for word in sorted(_WORDS[data])) or "no other word"
            raise UserError(f"{strangers[0]}=: not with data={data}; expected {allowed}.")
        if "canary_every" in words and not {"canary_root", "shards"} <= set(words):
            raise UserError("canary_every=: expected shards=DIR and canary_root=DIR with it.")
        if not rest:
            raise UserError(f"no training script.\n{_USAGE}")
        if not Path(rest[0]).is_file():
            raise UserError(f"{rest[0]}: no such training script.")
        return cls(words, rest[0], tuple(rest[1:]))

    def feeding(self) -> Feeding:
        """Returns how the script's loaders are to be fed, and sets what its data set reads.

        The environment: ``PREDECODE_DATA``, and ``PREDECODE_SHARDS`` or ``PREDECODE_ROOT`` and
        ``PREDECODE_BACKEND``.

        Raises:
            UserError: no output or no data set at the place that is given.
        """
        words, data = self.words, self.words["data"]
        key = "shards" if data == "shards" else "root"
        source = _source(key, words.get(key, ""))
        backend = words.get("backend", "pyav") if data == "online" else ""
        variables = {"DATA": data, "SHARDS": "", "ROOT": "", "BACKEND": backend}
        variables[key.upper()] = source
        for name, value in variables.items():
            os.environ.pop(f"PREDECODE_{name}", None)
            if value:
                os.environ[f"PREDECODE_{name}"] = value
        shuffle = cast(Literal["global", "block", "none"] | None, words.get("shuffle"))
        return Feeding(
            data=data,
            source=source,
            backend=backend,
            seed=int(words["seed"]) if "seed" in words else None,
            shuffle=shuffle,
            resume_step=int(words["resume_step"]) if "resume_step" in words else None,
            run_dir=words.get("run_dir"),
            canary_every=int(words.get("canary_every", 0)),
            canary_root=words.get("canary_root"),
            canary_python=words.get("canary_python"),
            script_words=self.script_words,
        )


def _source(key: str, value: str) -> str:
    """An absolute path to a folder that is what it is said to be, or a URL."""
    if "://" in value or (key == "shards" and not value):
        return value  # whoever opens it checks it
    source = Path(value).absolute()
    if key == "shards" and "," in value and not source.exists():
        raise UserError(
            f"shards={value}: a training script is fed from one output. Several are read as one by "
            "JoinedDataset, and by python -m train_shards.train shards=DIR1,DIR2."
        )
    if key == "shards":
        load_manifest(source)
    elif not value or not source.is_dir():
        raise UserError(f"root={value}: no such folder.")
    return str(source)


def _check_word(key: str, value: str, known: set[str]) -> None:
    if key not in known:
        near = difflib.get_close_matches(key, sorted(known), 1, cutoff=0.0)[0]
        raise UserError(f"{key}=: no such word; the nearest is {near}=.\n{_USAGE}")
    if key in _CHOICES and value not in _CHOICES[key]:
        raise UserError(f"{key}={value}: expected one of {', '.join(_CHOICES[key])}.")
    if key in ("seed", "resume_step", "canary_every") and not re.fullmatch(r"\d{1,18}", value):
        raise UserError(f"{key}={value}: expected a number of 0 or more.")


def main(argv: Sequence[str]) -> int:
    """Runs a training script; returns the exit status.

    The script's own where it ends with one, else 0; 2 for what is refused, 1 for damaged data, 3
    for a storage that does not answer.
    What the script raises is not caught.
    """
    if list(argv[:1]) in (["-h"], ["--help"]):
        print(_USAGE)
        return 0
    try:
        words = LaunchWords.parse(argv)
        if words.words["data"] == "upstream":
            if world()[0] == 0:
                print("predecode: data=upstream, nothing is replaced", flush=True)
            run_script(words.script, words.script_words)
            return 0
        feeding = words.feeding()
        # torch's threads spin where they wait, on cores that the workers need; read when it loads.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        install()
        feeding.install()
        run_script(words.script, words.script_words)
        for canary in feeding.canaries.values():
            canary.close()
        return _check_fed(feeding)
    except tuple(EXIT_STATUS) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_STATUS[type(error)]


def _check_fed(feeding: Feeding) -> int:
    """Says so where a script ended well without having read what it was to be fed with."""
    if feeding.num_loaders:
        return 0
    if world()[0] == 0:
        print(
            "warning: predecode: the script made no DataLoader over the replaced data set; what it "
            "trained on, if anything, did not come from here.",
            file=sys.stderr,
        )
    if feeding.resume_step is not None:
        raise UserError(f"resume_step={feeding.resume_step}: there was no sampler to set.")
    return 0


def run_script(script: str, words: Sequence[str]) -> None:
    """Runs a script in this process as ``python SCRIPT WORDS`` would.

    An exit status other than 0 leaves as SystemExit.
    """
    own = str(Path(__file__).parents[1])
    if not sys.flags.safe_path:
        sys.path[0] = str(Path(script).absolute().parent)  # until now what `python -m` put there
    if own not in sys.path:
        sys.path.append(own)  # the source tree that was found by that
    sys.argv = [script, *words]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        if ended.code not in (None, 0):
            raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
