"""Feed-forward and attention by blocks are the plain formulas, dropout and gradients included."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from amr_model.model import blocked
from amr_model.model.operations import attention, dropout


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Blocks of a few rows, so that small tensors have several and a last one that is shorter."""
    monkeypatch.setattr(blocked, "BLOCK_BYTES", 1 << 10)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        yield


def kept(shape: tuple[int, ...], rows: int, rate: float) -> Tensor:
    """The factors that a call on blocks of `rows` of this shape uses, if nothing is drawn before it."""
    with torch.random.fork_rng():
        shapes = [(min(rows, shape[0] - start), *shape[1:]) for start in range(0, shape[0], rows)]
        drawn = blocked.draw_dropout(shapes, rate)
    return torch.cat([bits.kept() * bits.scale for bits in drawn])


def same_values_and_gradients(
    ours: Callable[..., Tensor], theirs: Callable[..., Tensor], inputs: list[Tensor]
) -> None:
    results = ours(*inputs), theirs(*inputs)
    torch.testing.assert_close(*results)
    weight = torch.randn(results[0].shape)
    gradients = (torch.autograd.grad((result * weight).sum(), inputs) for result in results)
    for mine, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, reference)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("slope", [0.25, 0.0, -0.5])
def test_feed_forward_is_two_layers_with_prelu_and_dropout(rate: float, slope: float) -> None:
    rows, dim, inner = 23, 6, 32
    inputs = [
        tensor.requires_grad_()
        for tensor in (
            torch.randn(rows, dim),
            torch.randn(inner, dim),
            torch.randn(inner),
            torch.tensor([slope]),
            torch.randn(dim, inner),
            torch.randn(dim),
        )
    ]
    factors = kept((rows, inner), (1 << 10) // (4 * inner), rate) if rate > 0 else torch.ones(rows, inner)

    def plain(x: Tensor, w1: Tensor, b1: Tensor, a: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        return F.linear(F.prelu(F.linear(x, w1, b1), a) * factors, w2, b2)

    same_values_and_gradients(lambda *each: blocked.feed_forward(*each, rate), plain, inputs)


def test_feed_forward_without_gradients_is_the_same() -> None:
    inputs = [torch.randn(*shape) for shape in [(23, 6), (32, 6), (32,), (1,), (6, 32), (6,)]]
    before = [tensor.clone() for tensor in inputs]
    with torch.inference_mode():
        out = blocked.feed_forward(*inputs, 0.0)
    expected = F.linear(F.prelu(F.linear(*inputs[:3]), inputs[3]), *inputs[4:])
    torch.testing.assert_close(out, expected)
    assert all(torch.equal(a, b) for a, b in zip(inputs, before, strict=True)), "inputs are left alone"


@pytest.mark.parametrize("rate", [1e-9, 0.1, 0.5])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_softmax_and_dropout_of_the_weights(rate: float, masked: bool) -> None:
    batch, heads, queries, keys, dim = 5, 2, 7, 9, 4
    mask = torch.arange(keys) < torch.tensor([9, 1, 5, 9, 3])[:, None] if masked else None
    mask = None if mask is None else mask[:, None, None, :]
    shape = (batch, heads, queries, keys)
    q = torch.randn(batch, queries, heads, dim).transpose(1, 2).requires_grad_()
    k, v = (torch.randn(batch, keys, heads, dim).transpose(1, 2).requires_grad_() for _ in range(2))
    factors = kept(shape, (1 << 10) // (4 * heads * queries * keys), rate)

    def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = q @ k.transpose(-2, -1) * dim**-0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return scores.softmax(dim=-1) * factors @ v

    same_values_and_gradients(lambda *each: attention(*each, mask, rate), plain, [q, k, v])


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.999])
def test_dropout_keeps_the_mean_and_drops_its_share(rate: float) -> None:
    dropped = dropout(torch.ones(1000, 1001), rate)
    assert abs((dropped == 0).float().mean() - rate) < 1 / 256 + 0.001, "to the next of 256 steps"
    assert abs(dropped.mean() - 1) < (0.005 if rate < 0.9 else 0.05)


def test_the_rate_of_dropout_is_right_on_average_over_calls() -> None:
    shares = [blocked.draw_dropout([(1,)], 0.1)[0].dropped / 256 for _ in range(4000)]
    assert set(shares) == {25 / 256, 26 / 256}
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
