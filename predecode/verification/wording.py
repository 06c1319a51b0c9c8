"""Figures of a verification as its page and lines show them."""

from predecode.verification.report import EQUAL_PSNR_DB

__all__ = ["level", "psnr", "ssim"]


def psnr(psnr_db: float, *, equal: bool) -> str:
    """Returns a PSNR; 99 dB stands for equal pictures, and for any that are closer than that.

    >>> psnr(99.0, equal=True), psnr(99.0, equal=False), psnr(38.25, equal=False)
    ('equal', '≥ 99 dB', '38.2 dB')
    """
    if equal:
        return "equal"
    return "≥ 99 dB" if psnr_db >= EQUAL_PSNR_DB else f"{psnr_db:.1f} dB"


def ssim(ssim: float) -> str:
    """Returns a structural similarity; 1 only where that is exact.

    >>> ssim(1.0), ssim(0.99999), ssim(0.98765)
    ('1', '> 0.9999', '0.9877')
    """
    if ssim == 1:
        return "1"
    return "> 0.9999" if ssim > 0.9999 else f"{ssim:.4f}"


def level(level: float) -> str:
    """Returns a mean difference in levels.

    >>> level(0.0), level(0.0001), level(1.23456)
    ('0', '< 0.001', '1.235')
    """
    if level == 0:
        return "0"
    return "< 0.001" if level < 0.001 else f"{level:.3f}"
