"""intarsia: make the model you need out of the parts of models that exist.

Importing this brings the vocabulary of plans and no torch; `intarsia.hosts`, `intarsia.rig` and
`intarsia.lighten` bring the rest when they are imported.
"""

from .errors import CardError as CardError
from .errors import FitError as FitError
from .errors import HostNotFrozen as HostNotFrozen
from .errors import IntarsiaError as IntarsiaError
from .errors import OutputExists as OutputExists
from .errors import OverBudget as OverBudget
from .errors import PlanError as PlanError
from .errors import RigError as RigError
from .errors import Unfinished as Unfinished
from .plan import Bill as Bill
from .plan import Extrapolate as Extrapolate
from .plan import Fitted as Fitted
from .plan import Hold as Hold
from .plan import Keep as Keep
from .plan import Outline as Outline
from .plan import Plan as Plan
from .plan import Price as Price
from .plan import Reuse as Reuse
from .plan import Rule as Rule
from .plan import Run as Run
from .plan import Site as Site
from .plan import Skip as Skip
from .plan import Table as Table
from .plan import Use as Use
from .plan import draw as draw
from .plan import load_outline as load_outline
from .plan import load_plan as load_plan
from .plan import price as price
from .plan import resolve as resolve
from .plan import save_outline as save_outline
from .plan import save_plan as save_plan

__version__ = "0.1.0"
