"""`python -m amr_model.cli`, for `torchrun`."""

from amr_model.cli import main

main()
