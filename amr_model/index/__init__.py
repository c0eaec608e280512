"""A collection of recordings that was heard once and can be asked anything."""
