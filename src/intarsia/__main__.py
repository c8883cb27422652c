"""`python -m intarsia`, and `accelerate launch -m intarsia`, for the command."""

from .cli.main import main

main()
