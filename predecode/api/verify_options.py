"""The options of ``verify``."""

from dataclasses import dataclass, field
from typing import Annotated

from predecode.api.option import (
    SOURCE,
    AddressOption,
    AnyPath,
    BackendPythonOption,
    NodeWaitOption,
    NumCpusOption,
    Option,
    RootOption,
    SrcOption,
)

__all__ = ["VerifyOptions"]

_LOOKED_AT = "What is looked at"


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """The options of ``verify``."""

    out: Annotated[
        AnyPath | None,
        Option("An output of predecode run; none with --source.", _LOOKED_AT, is_local=False),
    ] = field(default=None, kw_only=False)
    source: Annotated[
        bool, Option("Look at a data set before anything is decoded.", _LOOKED_AT)
    ] = False
    fast: Annotated[bool, Option("Hash every file again, and no more.", _LOOKED_AT)] = False
    all: Annotated[
        bool, Option("Decode every stored image again, compare every item.", _LOOKED_AT)
    ] = False
    sample: Annotated[
        int | None,
        Option(
            "Samples drawn at random, besides ends of episodes and frames around keyframes. "
            "Default: 1000.",
            _LOOKED_AT,
            least=0,
        ),
    ] = None
    seed: Annotated[int, Option("Of the draws.", _LOOKED_AT)] = 0
    min_psnr: Annotated[
        float | None,
        Option(
            "Least PSNR in dB of a lossy picture against a fresh decode. Default: 25.", _LOOKED_AT
        ),
    ] = None
    backends: Annotated[
        str | None,
        Option(
            "Decoders, such as pyav,torchcodec,video_reader: the first decodes again, all are "
            "compared with each other. Default: $B1K_VIDEO_BACKEND, else pyav.",
            _LOOKED_AT,
        ),
    ] = None
    src: SrcOption = "b1k"
    root: RootOption = None
    report: Annotated[
        AnyPath | None, Option("Folder for report.json and report.html, with pictures.", SOURCE)
    ] = None
    backend_python: BackendPythonOption = None
    address: AddressOption = None
    num_cpus: NumCpusOption = None
    node_wait_s: NodeWaitOption = 60
