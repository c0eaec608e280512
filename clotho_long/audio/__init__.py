"""Waveforms: reading, trimming, levels and mixing."""
