"""The networks: from a batch to outputs, as the papers draw them. Nothing here knows a loss."""

from amr_model.model.moment_detr import MomentRetriever

__all__ = ["MomentRetriever"]
