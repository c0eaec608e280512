"""Refinement of the audio by the text (CIM), after UVCOM (MIT), `CIM.py`.

Three steps: centres of text and audio by expectation-maximisation (DBIA), a convolution over
neighbouring rows with propagation of the text centres into it (LRP), and self attention under the
audio centre that resembles the text most (GKA, a plain `SelfEncoder` outside this file).

Distances between unit vectors are taken as cosines and the affinity of rows stays in its factors, so
nothing of size [L, L] or [centre, L, dim] exists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amr_model.config import ModelConfig
from amr_model.model.encoders import CrossEncoder
from amr_model.model.layers import Mlp, repeat_to
from amr_model.model.padding import MASKED, Padding

EPSILON = 1e-9
PROPAGATION_SHARPNESS = 5.0

Step = Callable[[Tensor, Tensor, float], Tensor]  # of `propagate`, see `inverse_step`


@dataclass(frozen=True)
class Refined:
    """What refinement hands on."""

    audio: Tensor  # [B, L, dim]
    global_token: Tensor  # [B, dim], the audio centre that resembles the text most
    text: Tensor  # [B, T, dim], text that has attended to the audio
    spread: Tensor | None  # [2] of the centres of text and of audio, in evaluation


class Refiner(nn.Module):
    """Text and audio attend to each other; then the text's centres flow into the audio."""

    def __init__(
        self, config: ModelConfig, *, cross_encoder: type[CrossEncoder], padding: Padding, step: Step
    ) -> None:
        super().__init__()
        dim = config.hidden_dim
        sizes = (config.encoder_layers, dim, config.num_heads, config.feedforward_dim, config.dropout)
        self.num_iterations, self.sigma = config.em_iterations, config.em_sigma
        self.propagation_weight = config.propagation_weight
        self.padding, self.step = padding, step
        self.text_to_audio, self.audio_to_text = cross_encoder(*sizes), cross_encoder(*sizes)
        self.text_centres = nn.Parameter(torch.empty(config.text_centres, dim))
        self.audio_centres = nn.Parameter(torch.empty(config.audio_centres, dim))
        self.local = LocalConvolution(dim, padding=padding)
        self.text_vector = nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim))
        self.similarity_audio = Mlp(dim, config.similarity_inner_dim, dim, 3)
        self.similarity_text = Mlp(dim, config.similarity_inner_dim, dim, 3)

    def forward(
        self, audio: Tensor, audio_mask: Tensor, audio_pos: Tensor, text: Tensor, text_mask: Tensor
    ) -> Refined:
        """audio [b, L, dim] with mask and positions; text [B, T, dim] with mask.

        B is b times the number of passes, each over the same audio with other texts.
        """
        heard = self.text_to_audio(audio, text, audio_mask, text_mask, x_pos=audio_pos)
        said = self.audio_to_text(text, audio, text_mask, audio_mask, y_pos=audio_pos)
        audio_mask = repeat_to(audio_mask, len(text))
        rows = self.padding.counted(audio_mask)
        text_centres = self._aggregate(self.text_centres, said, self.padding.counted(text_mask))
        audio_centres = self._aggregate(self.audio_centres, heard, rows)
        context = (heard + self.local(heard, audio_mask)) * rows.unsqueeze(-1)
        spread = propagate(context, text_centres, weight=self.propagation_weight, mask=rows, step=self.step)
        return Refined(
            audio=heard + spread,
            global_token=most_similar(audio_centres, text_centres),
            text=said,
            spread=None
            if self.training
            else torch.stack([centre_spread(text_centres), centre_spread(audio_centres)]),
        )

    def pooled_text(self, text: Tensor, text_mask: Tensor) -> Tensor:
        """One vector of the text that `forward` returned: [B, T, dim] -> [B, dim]."""
        tokens: Tensor = self.text_vector(text)
        return self.padding.mean(tokens, text_mask)

    def unit_audio(self, audio: Tensor) -> Tensor:
        """Rows or a whole recording in the space shared with text, of length one: [..., dim]."""
        return F.normalize(self.similarity_audio(audio), dim=-1)

    def unit_text(self, text: Tensor) -> Tensor:
        """Pooled text in the space shared with audio, of length one: [B, dim]."""
        return F.normalize(self.similarity_text(text), dim=-1)

    def _aggregate(self, centres: Tensor, rows: Tensor, mask: Tensor) -> Tensor:
        start = centres.expand(len(rows), -1, -1)
        return aggregate(start, rows, num_iterations=self.num_iterations, sigma=self.sigma, mask=mask)


class LocalConvolution(nn.Module):
    """Three convolutions over time, of kernels 1, 3, 1 and without activations: one linear map.

    They are multiplied out into one kernel of 3 per call, which costs less than the outer two.
    """

    def __init__(self, dim: int, *, padding: Padding = MASKED) -> None:
        super().__init__()
        self.padding = padding
        self.into, self.across, self.out = nn.Linear(dim, dim), nn.Conv1d(dim, dim, 3), nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, L, dim], mask [B, L] -> [B, L, dim]."""
        dim, middle = x.shape[-1], self.across.bias
        assert middle is not None
        real = mask.unsqueeze(-1).to(x.dtype)
        taps = self.across.weight.permute(2, 0, 1)  # [3, dim, dim], the tap on t - 1 first
        outward = self.out.weight @ taps
        terms = F.linear(x * real, (outward @ self.into.weight).reshape(3 * dim, dim))
        # the first bias reaches a row through each neighbour that exists
        terms = terms + self.padding.neighbours(real) * (outward @ self.into.bias).reshape(3 * dim)
        before, here, after = terms.chunk(3, dim=-1)
        shifted = F.pad(before[:, :-1], (0, 0, 1, 0)) + here + F.pad(after[:, 1:], (0, 0, 0, 1))
        return shifted + F.linear(middle, self.out.weight, self.out.bias)


def aggregate(
    centres: Tensor, rows: Tensor, *, num_iterations: int, sigma: float, mask: Tensor | None = None
) -> Tensor:
    """Centres of the rows by expectation-maximisation (UVCOM's DBIA).

    Rows share themselves among the centres by softmax of cosine / sigma^2, which is the softmax of
    -|difference of unit vectors|^2 / (2 sigma^2).

    Args:
        centres: [B, K, dim], where to start.
        rows: [B, T, dim].
        mask: [B, T]; rows that are False take no part.
    Returns:
        [B, K, dim]. Gradients run through all iterations.
    """
    units = unit(rows).transpose(1, 2)
    for _ in range(num_iterations):
        share = ((unit(centres) @ units) / sigma**2).softmax(dim=1)
        if mask is not None:
            share = share * mask.unsqueeze(1)
        centres = (share / (share.sum(dim=-1, keepdim=True) + EPSILON)) @ rows
    return centres


def inverse_step(gathered: Tensor, overlap: Tensor, weight: float) -> Tensor:
    """weight^2 (I - weight^2 zn z^T)^-1 zn v, [B, K, dim]: by Woodbury's identity, z^T of it is what the
    inverse in `propagate` adds to v.

    Args:
        gathered: zn v, [B, K, dim].
        overlap: zn z^T, [B, K, K].
    """
    identity = torch.eye(overlap.shape[-1], device=overlap.device)
    system = identity - weight**2 * overlap.float()
    # solve_ex does not look at the result, which would make a GPU wait; the system is regular:
    # rows of zn sum to at most 1 and columns of z to 1, so the eigenvalues of the overlap stay below 1
    solved, _ = torch.linalg.solve_ex(system, gathered.float())
    step: Tensor = weight**2 * solved
    return step


def propagate(
    rows: Tensor,
    centres: Tensor,
    *,
    weight: float,
    mask: Tensor | None = None,
    step: Step = inverse_step,
) -> Tensor:
    """Random walk of the centres into the rows (UVCOM's propagation) in low-rank form.

    With z the share of each row in each centre, zn its normalised rows and v = weight z^T centres + rows,
    this is (1 - weight) (I - weight^2 z^T zn)^-1 v = (1 - weight) (v + z^T step(zn v)).

    Args:
        rows: [B, T, dim].
        centres: [B, K, dim].
        mask: [B, T]; rows that are False neither give nor receive.
        step: from zn v, zn z^T and the weight to what is added to v, in the space of the centres.
    Returns:
        [B, T, dim].
    """
    share = (PROPAGATION_SHARPNESS * unit(centres) @ unit(rows).transpose(1, 2)).softmax(dim=1)
    if mask is not None:
        share = share * mask.unsqueeze(1)
    normalised = share / (share.sum(dim=-1, keepdim=True) + EPSILON)
    gathered = normalised @ rows  # zn x
    overlap = normalised @ share.transpose(1, 2)  # zn z^T, [B, K, K]
    gathered = gathered + weight * overlap @ centres  # zn v
    added = step(gathered, overlap, weight).to(rows.dtype)
    return (1 - weight) * (rows + share.transpose(1, 2) @ (weight * centres + added))


def most_similar(audio_centres: Tensor, text_centres: Tensor) -> Tensor:
    """The audio centre whose mean cosine with the text centres is largest, [B, dim]; the first on ties."""
    text = F.normalize(text_centres, dim=-1).mean(dim=1)
    score = (F.normalize(audio_centres, dim=-1) @ text.unsqueeze(-1)).squeeze(-1)
    best = score.argmax(dim=1)
    return audio_centres.gather(1, best[:, None, None].expand(-1, 1, audio_centres.shape[-1])).squeeze(1)


def centre_spread(centres: Tensor) -> Tensor:
    """How far centres [B, K, dim] are apart: the largest cosine distance of two, mean over the batch.

    Near zero the centres have collapsed into one, which they do at the published `em_sigma`: then the
    refinement adds a mean and nothing else.
    """
    units = F.normalize(centres, dim=-1)
    return (1 - (units @ units.transpose(1, 2)).flatten(1).amin(dim=1)).mean()


def unit(x: Tensor) -> Tensor:
    """x / (|x| + 1e-9): zero stays zero."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / (norm + EPSILON)
