"""Where HTS-AT's tokens lie: windows, their shift, patch merging. Pure index arithmetic.

The picture of 256 x 256 has 64 x 64 tokens ("raster" order, row by row); each merging halves both sides. We
keep tokens in window order (Swin, arXiv 2103.14030, section 3.2: 64 tokens of one 8 x 8 window after the
other, in odd blocks after a cyclic shift by half a window), so that a block needs one permutation at most.
"""

from __future__ import annotations

import torch

SIDE = 64  # tokens along each side of the picture in the first stage
WINDOW = 8  # tokens along each side of an attention window
TOKENS = WINDOW * WINDOW
WIDTHS = (96, 192, 384, 768)
DEPTHS = (2, 2, 6, 2)
HEADS = (4, 8, 16, 32)
HEAD_DIM = 24
MASKED = -100.0  # added to the score of two tokens that only the cyclic shift made neighbours


def window_order(side: int, *, shifted: bool) -> torch.Tensor:
    """[side * side] raster index of each token, in window order."""
    raster = torch.arange(side * side).view(side, side)
    if shifted:
        raster = raster.roll((-WINDOW // 2, -WINDOW // 2), (0, 1))
    return _windows(raster).reshape(-1)


def reorder(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Positions in order `source` of the tokens of order `target`: `x[:, reorder(a, b)]` goes from a to b."""
    return torch.argsort(source)[target]


def merge_order(source: torch.Tensor, side: int) -> torch.Tensor:
    """[side * side] positions in order `source` of the tokens that merge, four by four.

    The merged tokens are in unshifted window order; a token's four parts are its top left, bottom left, top
    right and bottom right one (Swin's `PatchMerging`).
    """
    merged = window_order(side // 2, shifted=False)
    row, column = merged // (side // 2), merged % (side // 2)
    parts = [(2 * row + i) * side + 2 * column + j for j in (0, 1) for i in (0, 1)]
    return reorder(source, torch.stack(parts, dim=1).reshape(-1))


def relative_position_index() -> torch.Tensor:
    """[64, 64] row of the bias table for each pair of tokens in a window."""
    place = torch.arange(WINDOW * WINDOW)
    row, column = place // WINDOW, place % WINDOW
    down = row[:, None] - row[None, :] + WINDOW - 1
    right = column[:, None] - column[None, :] + WINDOW - 1
    return down * (2 * WINDOW - 1) + right


def shift_mask(side: int) -> torch.Tensor:
    """[window, 64, 64] 0 for true neighbours in the shifted windows, `MASKED` for the others."""
    place = torch.arange(side)
    strip = (place >= side - WINDOW).long() + (place >= side - WINDOW // 2).long()
    region = _windows(3 * strip[:, None] + strip[None, :]).reshape(-1, WINDOW * WINDOW)
    apart = region[:, :, None] != region[:, None, :]
    return apart * MASKED


def _windows(picture: torch.Tensor) -> torch.Tensor:
    rows = picture.shape[0] // WINDOW
    return picture.view(rows, WINDOW, rows, WINDOW).transpose(1, 2)
