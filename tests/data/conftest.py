"""One thread: these tensors are too small to share, and waiting threads cost more than the work."""

import torch

torch.set_num_threads(1)
