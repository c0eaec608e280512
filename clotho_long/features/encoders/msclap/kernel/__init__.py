"""C++ sources of the audio tower's kernel and, where a compiler was present, its builds (see `setup.py`)."""
