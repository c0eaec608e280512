"""The stages from raw audio to a corpus; sources, recipes and audio meet here and nowhere else."""
