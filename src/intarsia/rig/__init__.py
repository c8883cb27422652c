"""Plans meet torch: read an outline off a model, run it under a plan, bake a plan in, measure."""

from .bake import bake as bake
from .clock import CallClock as CallClock
from .contract import Gate as Gate
from .contract import Host as Host
from .contract import UnitHost as UnitHost
from .gating import gated as gated
from .guidance import guidance_shared as guidance_shared
from .lineage import Lineage as Lineage
from .live import Live as Live
from .live import applied as applied
from .meter import count_macs as count_macs
from .meter import measure_seconds as measure_seconds
from .meter import unit_seconds as unit_seconds
from .outlining import outline_of as outline_of
from .peak import peak_bytes as peak_bytes
