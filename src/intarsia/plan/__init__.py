"""Plans as data: no torch, no numpy. Start with `actions.py`, then `plan.py`, then `table.py`."""

from .actions import Action as Action
from .actions import Keep as Keep
from .actions import Reuse as Reuse
from .actions import Run as Run
from .actions import Skip as Skip
from .actions import Use as Use
from .bill import Bill as Bill
from .bill import price as price
from .drawing import draw as draw
from .files import load_outline as load_outline
from .files import load_plan as load_plan
from .files import save_outline as save_outline
from .files import save_plan as save_plan
from .forecast import Extrapolate as Extrapolate
from .forecast import Fitted as Fitted
from .forecast import Hold as Hold
from .outline import Outline as Outline
from .outline import Price as Price
from .outline import Site as Site
from .plan import Plan as Plan
from .plan import Rule as Rule
from .table import Table as Table
from .table import resolve as resolve
from .units import Cost as Cost
from .units import cost as cost
