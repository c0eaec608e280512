"""Trains, evaluates and runs audio moment retrieval models."""
