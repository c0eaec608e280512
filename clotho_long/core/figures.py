"""Pictures that matplotlib draws: which file names it takes, how foreign text is drawn, and whole files."""

from __future__ import annotations

import textwrap
import unicodedata
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from clotho_long.core.clock import clock, ticks
from clotho_long.core.errors import ConfigError
from clotho_long.core.files import atomic_path
from clotho_long.core.units import Seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".eps", ".ps")
DPI = 120
# The first that has a letter draws it. After the one that matplotlib brings: what systems have for the rest.
FAMILIES = (
    "DejaVu Sans",
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Source Han Sans"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "IPAexGothic", "TakaoGothic", "Droid Sans Fallback"),
    *("Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Yu Gothic", "Microsoft YaHei", "Malgun Gothic", "Nirmala UI", "Segoe UI Emoji"),
    *("Noto Sans", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai"),
    *("Noto Emoji", "Symbola", "Unifont"),
)


def check_plot_suffix(path: Path) -> None:
    """To be asked of `--plot`, before the work whose result is drawn.

    Raises:
        ConfigError: no picture can have such a name.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"{path.name} names no kind of picture", "--plot", f"end it in {', '.join(SUFFIXES)}"
        )


@cache
def families() -> tuple[str, ...]:
    """Those of FAMILIES that are installed here."""
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    return tuple(family for family in FAMILIES if family in installed)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all. Letters that no font here has become boxes, without a word."""
    with atomic_path(path) as part, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(part, dpi=DPI)


def wrapped(text: str, width: int, *, max_lines: int = 3) -> str:
    """Text in lines of at most `width` letters, a Chinese one counting as two; what is too long ends in …"""
    printable = text.encode("utf-8", "replace").decode()  # names of files need not be UTF-8
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in printable)
    letters = max(1, round(width * len(printable) / (len(printable) + wide))) if printable else width
    return "\n".join(textwrap.wrap(printable, letters, max_lines=max_lines, placeholder=" …"))


def show_times(axes: Axes, duration_s: Seconds) -> None:
    """An x axis from 0 to `duration_s` with times as on a clock."""
    axes.set_xlim(0, duration_s)
    axes.set_xticks(ticks(duration_s), [clock(at) for at in ticks(duration_s)])
