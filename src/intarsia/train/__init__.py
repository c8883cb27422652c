"""One training loop for all capabilities."""

from .loop import Schedule as Schedule
from .loop import fit as fit
from .loop import seed_everything as seed_everything
