"""What the corpus generator and the trainer share; nothing here imports torch or reads audio."""
