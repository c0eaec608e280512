"""Dropout drops its share, keeps the mean, and depends on the seed alone; attention is its formula."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from amr_model.model import operations
from amr_model.model.layers import FeedForward
from amr_model.model.operations import LEVELS, attention, dropout, dropout_factors


@pytest.fixture(autouse=True)
def own_seed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pieces and blocks of a few numbers: small tensors have several, and a last one that is shorter."""
    monkeypatch.setattr(operations, "PIECE_BYTES", 64)
    monkeypatch.setattr(operations, "BLOCK_NUMBERS", 300)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        yield


@pytest.mark.parametrize("rate", [1e-9, 0.1, 0.5])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_softmax_and_dropout_of_the_weights(rate: float, masked: bool) -> None:
    batch, heads, queries, keys, dim = 5, 2, 7, 9, 4
    mask = torch.arange(keys) < torch.tensor([9, 1, 5, 9, 3])[:, None] if masked else None
    mask = None if mask is None else mask[:, None, None, :]
    q = torch.randn(batch, heads, queries, dim).requires_grad_()
    k, v = (torch.randn(batch, heads, keys, dim).requires_grad_() for _ in range(2))
    with torch.random.fork_rng():
        factors = torch.cat([dropout_factors((items, heads, queries, keys), rate) for items in (2, 2, 1)])

    def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = q @ k.transpose(-2, -1) * dim**-0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return scores.softmax(dim=-1) * factors @ v

    results = attention(q, k, v, mask, rate), plain(q, k, v)
    torch.testing.assert_close(*results)
    weight = torch.randn(results[0].shape)
    gradients = [torch.autograd.grad((result * weight).sum(), [q, k, v]) for result in results]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.999])
def test_dropout_keeps_the_mean_and_drops_its_share(rate: float) -> None:
    dropped = dropout(torch.ones(300, 301), rate)
    assert abs((dropped == 0).float().mean() - rate) < 1 / LEVELS + 0.004, "to the next of 256 steps"
    assert abs(dropped.mean() - 1) < (0.01 if rate < 0.9 else 0.1)


def test_the_rate_of_dropout_is_right_on_average_over_calls() -> None:
    shares = [1 - 1 / float(dropout_factors((40,), 0.1).max()) for _ in range(4000)]
    assert {round(share * LEVELS) for share in shares} == {25, 26}
    assert abs(sum(shares) / len(shares) - 0.1) < 1e-4


def test_dropout_depends_on_the_seed_and_not_on_threads() -> None:
    x, threads = torch.ones(100, 50), torch.get_num_threads()
    found = []
    try:
        for seed, number in ((1, 1), (1, 2), (2, 2)):
            torch.set_num_threads(number)
            torch.manual_seed(seed)
            found.append(dropout(x, 0.3))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])


def test_a_feed_forward_layer_in_blocks_is_the_layer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = FeedForward(4, 16, dropout=0.0), torch.randn(7, 5, 4).requires_grad_()
    found = []
    for numbers in (200, 10**6):  # two items of 80 numbers at a time; all
        monkeypatch.setattr(operations, "BLOCK_NUMBERS", numbers)
        out = layer(x)
        found.append((out, *torch.autograd.grad(out.square().sum(), [x, *layer.parameters()])))
    for blocks, whole in zip(*found, strict=True):
        torch.testing.assert_close(blocks, whole)
