"""A frozen text-to-image model learns new senses, and modules that were trained apart work together (EMMA on ELLA).

with connect.shown(pipe, {"style": "painting.png", "palette": "photo.jpg"}, weights={"style": 0.8}):
    picture = pipe("a fox").images[0]

Step by step, for encoders, connectors and references of one's own:

carrier = connect.TextCarrier.of(pipe)
stack = connect.Stack(carrier, connect.load_modules(pipe, ["style", "palette"]).values(), weights={"style": 0.8})
with connect.attached(pipe, stack) as senses:
    senses.give(style=see([painting]), palette=colours([photo]))
    picture = pipe("a fox").images[0]
"""

from .attaching import Attachment as Attachment
from .attaching import attached as attached
from .connector import Connector as Connector
from .connector import SemanticConnector as SemanticConnector
from .connector import TextCarrier as TextCarrier
from .connector import fingerprint_of as fingerprint_of
from .ella import load_ella as load_ella
from .learning import Learning as Learning
from .learning import measure_gap as measure_gap
from .modality import Features as Features
from .modality import Modality as Modality
from .reference import Reference as Reference
from .senses import load_modules as load_modules
from .senses import shown as shown
from .stack import Stack as Stack
from .weights import Weighed as Weighed
from .weights import Weight as Weight
from .weights import Window as Window
from .weights import times_of as times_of
