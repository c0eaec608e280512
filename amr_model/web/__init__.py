"""`amr serve`: a web page on which moments are found, seen and heard. Needs the extra `[web]`."""
