"""One training loop for all capabilities."""

from .checkpoint import wear_average as wear_average
from .groups import Group as Group
from .groups import Grouped as Grouped
from .loop import Schedule as Schedule
from .loop import fit as fit
from .loop import seed_everything as seed_everything
from .optimizers import Method as Method
from .processes import processes as processes
