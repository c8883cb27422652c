"""Each kind of row of a plan as a static graph, on a backend of your choice."""

from .backends import BACKENDS as BACKENDS
from .folder import write_graphs as write_graphs
from .kinds import Kinds as Kinds
from .row_graph import RowGraph as RowGraph
from .running import applied_as_graphs as applied_as_graphs
