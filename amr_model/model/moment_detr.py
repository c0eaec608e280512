"""The retriever: QD-DETR, UVCOM, and UVCOM's refinement under QD-DETR's head (the report's S2 and up).

After QD-DETR (MIT), `model.py`, and UVCOM (MIT), `uvcom.py`, as Lighthouse d095eaa (Apache-2.0) ships them
for audio.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from amr_model.config import ModelConfig
from amr_model.model.decoder import Decoder
from amr_model.model.encoders import CrossEncoder, SelfEncoder
from amr_model.model.layers import InputProjection, Mlp, key_mask, repeat_to
from amr_model.model.padding import MASKED, Padding
from amr_model.model.positions import inverse_sigmoid, row_positions
from amr_model.model.refine import Refiner, Step, inverse_step
from amr_model.model.slots import SlotAttention
from amr_model.tensors import NO_NEGATIVE, Batch, Outputs

Gather = Callable[[Tensor, int, int], Tensor]  # ours [B, ...], our first place, G -> of all items [G, ...]
Choose = Callable[[Tensor, Tensor], Tensor]  # see `most_preferred`


@dataclass(frozen=True)
class Encoded:
    """What the encoders make of recordings under texts, one row per pass and item."""

    memory: Tensor  # [B, L, dim]
    summary: Tensor  # [B, dim], the global token after the encoder
    rows: Tensor  # [B, L, dim], audio before the encoder
    text: Tensor | None = None  # [B, T, dim], text that attended to audio; None without refinement
    spread: Tensor | None = None  # [2] of the refinement's centres, in evaluation

    def first(self, batch: int) -> Encoded:
        """The rows of the first pass."""
        text = None if self.text is None else self.text[:batch]
        return Encoded(self.memory[:batch], self.summary[:batch], self.rows[:batch], text, self.spread)


def most_preferred(preference: Tensor, same_recording: Tensor) -> Tensor:
    """The text that each item takes as its negative: the most similar one of another recording.

    Args:
        preference: [B, G] similarity of items to texts, in [0, 1].
        same_recording: [B, G], True where a text belongs to the item's recording.
    Returns:
        [B] int64; NO_NEGATIVE where all texts belong to the recording.
    """
    chosen = preference.masked_fill(same_recording, -1.0).argmax(dim=1)
    return chosen.masked_fill(same_recording.all(dim=1), NO_NEGATIVE)


@dataclass(frozen=True)
class Arithmetic:
    """The parts in which public networks differ (`public/variants.py`), by default ours, after the papers."""

    cross_encoder: type[CrossEncoder] = CrossEncoder
    padding: Padding = MASKED
    step: Step = inverse_step  # of the propagation
    choose: Choose = most_preferred  # negatives by similarity


OURS = Arithmetic()


class MomentRetriever(nn.Module):
    """Reads a `Batch`, says `Outputs`. `public.networks.network_of` builds the one that settings ask for."""

    def __init__(self, config: ModelConfig, arithmetic: Arithmetic = OURS) -> None:
        """`config` for sizes and parts; its switches between ours and the reference are `arithmetic`."""
        super().__init__()
        dim = config.hidden_dim
        sizes = (dim, config.num_heads, config.feedforward_dim, config.dropout)
        self.config, self.padding, self.choose = config, arithmetic.padding, arithmetic.choose
        together = config.tef == "concat"
        self.audio_projection = InputProjection(config.audio_dim + 2 * together, dim, config.input_dropout)
        self.tef_projection = None if together else InputProjection(2, dim, config.input_dropout)
        self.text_projection = InputProjection(config.text_dim, dim, config.input_dropout)
        refined = config.refiner == "cim"
        cross_encoder, step = arithmetic.cross_encoder, arithmetic.step
        self.refiner = (
            Refiner(config, cross_encoder=cross_encoder, padding=self.padding, step=step) if refined else None
        )
        self.text_to_audio = None if refined else cross_encoder(config.encoder_layers, *sizes)
        self.global_token = None if refined else nn.Parameter(torch.randn(dim))
        self.global_position = nn.Parameter(torch.randn(dim))
        self.encoder = SelfEncoder(config.encoder_layers, *sizes)
        slots = config.head == "uvcom"
        self.slots = (
            SlotAttention(dim, config.slot_inner_dim, config.slot_iterations, padding=self.padding)
            if slots
            else None
        )
        self.query_content = nn.Parameter(torch.empty(config.num_queries, dim)) if slots else None
        self.query_references = nn.Parameter(torch.randn(config.num_queries, 2))
        self.decoder = Decoder(
            config.decoder_layers,
            *sizes,
            reference_of_layer="end" if slots else "start",
            width_floor=config.width_floor,
        )
        self.class_head, self.span_head = nn.Linear(dim, 2), Mlp(dim, dim, 2, 3)
        self.quality_head = Mlp(dim, dim, 1, 3) if config.quality_head else None
        self.saliency_clip, self.saliency_global = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self._set_start_values()

    def forward(
        self,
        batch: Batch,
        *,
        for_loss: bool = False,
        choose_negatives: bool = False,
        gather: Gather | None = None,
    ) -> Outputs:
        """Predictions for every item.

        Args:
            for_loss: also compute what only losses read: the pass with the negative texts (without a
                decoder) and the similarities.
            choose_negatives: take negative texts by similarity (`ModelConfig.negatives`) instead of the
                collated ones; needs refinement.
            gather: brings vectors of items together, where several processes share the batch.
        """
        audio, texts = self._project(batch)
        text, text_mask = texts[batch.own], batch.text_mask[batch.own]
        audio_pos = row_positions(batch.audio_mask, self.config.hidden_dim)
        size, negative = len(audio), batch.negative_index if for_loss else None
        if negative is None or choose_negatives:
            encoded = self._encode(batch, audio, audio_pos, text, text_mask)
        else:
            # both passes share a batch, in which the recordings' projections are computed once
            chosen = negative.clamp(min=0)
            both = torch.cat((text, texts[chosen]))
            masks = torch.cat((text_mask, batch.text_mask[chosen]))
            encoded = self._encode(batch, audio, audio_pos, both, masks)
        positive = encoded.first(size)
        sim_global, sim_local, saliency_negative = None, None, None
        if for_loss and self.refiner is not None:
            said, rows, whole = self._similarity_vectors(positive, text_mask)
            sim_local = (rows @ said.unsqueeze(-1)).squeeze(-1)
            if gather is not None:
                said, whole = (gather(own, batch.first, len(batch.text)) for own in (said, whole))
            sim_global = whole @ said.T
            if choose_negatives:
                negative = self._similar_texts(batch, sim_global, said, rows)
        if negative is not None:
            if choose_negatives:
                chosen = negative.clamp(min=0)
                other = self._encode(batch, audio, audio_pos, texts[chosen], batch.text_mask[chosen])
            else:
                other = Encoded(encoded.memory[size:], encoded.summary[size:], encoded.rows[size:])
            saliency_negative = self._saliency(other)
        logits, spans, quality = self._decode(batch, positive, audio_pos, text_mask)
        return Outputs(
            logits=logits,
            spans_cxw=spans,
            saliency=self._saliency(positive),
            saliency_negative=saliency_negative,
            negative_index=negative,
            quality=quality,
            sim_global=sim_global,
            sim_local=sim_local,
            centre_spread=encoded.spread,
        )

    def _project(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if self.tef_projection is None:
            audio = self.audio_projection(torch.cat((batch.tef, batch.audio), dim=-1))
        else:
            audio = self.tef_projection(batch.tef) + self.audio_projection(batch.audio)
        return audio, self.text_projection(batch.text)

    def _encode(
        self, batch: Batch, audio: Tensor, audio_pos: Tensor, text: Tensor, text_mask: Tensor
    ) -> Encoded:
        """text [n B, T, dim] for n passes over the same audio."""
        said: Tensor | None = None
        spread: Tensor | None = None
        if self.refiner is not None:
            refined = self.refiner(audio, batch.audio_mask, audio_pos, text, text_mask)
            rows, said, token, spread = refined.audio, refined.text, refined.global_token, refined.spread
        else:
            assert self.text_to_audio is not None
            assert self.global_token is not None
            rows = self.text_to_audio(audio, text, batch.audio_mask, text_mask, x_pos=audio_pos)
            token = self.global_token.expand(len(text), -1)
        sequence = torch.cat((token.unsqueeze(1), rows), dim=1)
        place = torch.cat((self.global_position.expand(len(audio_pos), 1, -1), audio_pos), dim=1)
        real = torch.cat((batch.audio_mask.new_ones(len(audio), 1), batch.audio_mask), dim=1)
        sequence = self.encoder(
            sequence, repeat_to(place, len(sequence)), key_mask(repeat_to(real, len(sequence)))
        )
        return Encoded(memory=sequence[:, 1:], summary=sequence[:, 0], rows=rows, text=said, spread=spread)

    def _decode(
        self, batch: Batch, encoded: Encoded, audio_pos: Tensor, text_mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        size = len(encoded.memory)
        references = self.query_references.sigmoid().expand(size, -1, -1)
        if self.slots is None:
            content = encoded.memory.new_zeros(size, *self.query_references.shape[:1], self.config.hidden_dim)
        else:
            assert self.refiner is not None
            assert encoded.text is not None
            assert self.query_content is not None
            start = self.refiner.pooled_text(encoded.text, text_mask).unsqueeze(1)
            content = self.slots(start, encoded.memory, batch.audio_mask) + self.query_content
        hidden, bases = self.decoder(content, references, encoded.memory, audio_pos, batch.audio_mask)
        spans = (self.span_head(hidden) + inverse_sigmoid(bases)).sigmoid()
        quality = None
        if self.quality_head is not None:
            quality = self.quality_head(hidden[-1]).squeeze(-1).sigmoid()
        return self.class_head(hidden), spans, quality

    def _saliency(self, encoded: Encoded) -> Tensor:
        """<proj(row), proj(global)> / sqrt(dim), [B, L], the rows' projection moved to the other side."""
        other: Tensor = self.saliency_global(encoded.summary)
        direction, shift = other @ self.saliency_clip.weight, other @ self.saliency_clip.bias
        scores = (encoded.memory @ direction.unsqueeze(-1)).squeeze(-1) + shift.unsqueeze(-1)
        scaled: Tensor = scores * encoded.memory.shape[-1] ** -0.5
        return scaled

    def _similarity_vectors(self, encoded: Encoded, text_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit vectors of text [B, dim], of rows [B, L, dim] and of recordings [B, dim]."""
        assert self.refiner is not None
        assert encoded.text is not None
        said = self.refiner.unit_text(self.refiner.pooled_text(encoded.text, text_mask))
        return said, self.refiner.unit_audio(encoded.rows), self.refiner.unit_audio(encoded.summary)

    @torch.no_grad()
    def _similar_texts(self, batch: Batch, sim_global: Tensor, said: Tensor, rows: Tensor) -> Tensor:
        """[B] int64: the text of `said` [G, dim] that is chosen as an item's negative, after UVCOM.

        The mean of two distributions over the batch's texts: similarity to the whole recording and mean
        similarity to its rows.
        """
        mean = self.padding.mean(rows, batch.audio_mask)
        preference = (sim_global[batch.own].softmax(dim=1) + (mean @ said.T).softmax(dim=1)) / 2
        return self.choose(preference, batch.same_recording[batch.own])

    @torch.no_grad()
    def _set_start_values(self) -> None:
        """Xavier for every matrix between the projections and the heads; the rest keeps PyTorch's default."""
        inner = (self.refiner, self.text_to_audio, self.encoder, self.slots, self.decoder)
        for module in inner:
            for parameter in module.parameters() if module is not None else ():
                if parameter.ndim > 1:
                    nn.init.xavier_uniform_(parameter)
        if self.query_content is not None:
            nn.init.xavier_uniform_(self.query_content)
        last = self.decoder.refine.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.bias)
        if self.config.bbox_zero_init:
            nn.init.zeros_(last.weight)
