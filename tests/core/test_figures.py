from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backend_bases import FigureCanvasBase

from clotho_long.core.errors import ConfigError
from clotho_long.core.figures import SUFFIXES, check_plot_suffix, families, wrapped


def test_every_suffix_that_is_taken_can_be_drawn():
    assert {suffix[1:] for suffix in SUFFIXES} <= set(FigureCanvasBase.get_supported_filetypes())
    for suffix in SUFFIXES:
        check_plot_suffix(Path(f"moments{suffix.upper()}"))


@pytest.mark.parametrize("name", ["p.xyz", "p", "p.png.", ".png"])
def test_another_name_is_refused_with_those_that_are_taken(name):
    with pytest.raises(ConfigError, match=r"end it in \.png, \.svg, \.pdf"):
        check_plot_suffix(Path(name))


def test_one_family_at_least_is_installed():
    assert families()[0] == "DejaVu Sans"


@given(text=st.text(max_size=400), width=st.integers(10, 120))
def test_lines_are_few_and_short(text, width):
    lines = wrapped(text, width).splitlines()
    assert len(lines) <= 3
    assert all(len(line) <= width for line in lines)


def test_chinese_letters_count_twice():
    assert max(map(len, wrapped("犬" * 100, 60).splitlines())) == 30
