"""One command from raw audio to a results table."""
