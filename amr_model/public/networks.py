"""The network that settings ask for: the papers', or parts of the public ones where they say so."""

from __future__ import annotations

from amr_model.config import ModelConfig
from amr_model.model.encoders import CrossEncoder
from amr_model.model.moment_detr import Arithmetic, Choose, MomentRetriever, most_preferred
from amr_model.model.padding import MASKED, Padding
from amr_model.model.refine import Step, inverse_step
from amr_model.public.variants import CountedPadding, MisplacedMaskEncoder, least_preferred, product_step

# Each switch of `ModelConfig` between ours and the reference: its values, and what they stand for.
CROSS_MASK: dict[str, type[CrossEncoder]] = {"item": CrossEncoder, "reference": MisplacedMaskEncoder}
PADDING: dict[str, Padding] = {"masked": MASKED, "reference": CountedPadding()}
PROPAGATION: dict[str, Step] = {"inverse": inverse_step, "product": product_step}
NEGATIVES: dict[str, Choose] = {
    "roll": most_preferred,
    "hard": most_preferred,
    "reference": least_preferred,
}


def network_of(config: ModelConfig) -> MomentRetriever:
    """A network with start values. Nothing else builds one, so that no switch of its settings is lost."""
    arithmetic = Arithmetic(
        cross_encoder=CROSS_MASK[config.cross_mask],
        padding=PADDING[config.padding],
        step=PROPAGATION[config.propagation],
        choose=NEGATIVES[config.negatives],
    )
    return MomentRetriever(config, arithmetic)
