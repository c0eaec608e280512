"""Audio and text features of recordings and queries."""
