"""A task and a budget in, a small model out, in seconds (NN-Factory). `fulfil` is the front door."""

from .assembler import Assembler as Assembler
from .audit import audit as audit
from .budget import Budget as Budget
from .clocks import MacsClock as MacsClock
from .clocks import WallClock as WallClock
from .device import Device as Device
from .device import load_device as load_device
from .device import meter_device as meter_device
from .device import save_device as save_device
from .fulfil import Fulfilled as Fulfilled
from .fulfil import Order as Order
from .fulfil import fulfil as fulfil
from .kit import Kit as Kit
from .kit import load_kit as load_kit
from .kit import save_kit as save_kit
from .learning import Concepts as Concepts
from .learning import Customising as Customising
from .ranking import Grounds as Grounds
from .ranking import Ranking as Ranking
from .refreshing import refreshed as refreshed
from .shipping import rebuild as rebuild
from .shipping import ship as ship
from .task import Space as Space
from .task import Task as Task
