"""Regenerates Clotho-Moment-Long from raw audio and extracts its features."""

__version__ = "0.1.0"
