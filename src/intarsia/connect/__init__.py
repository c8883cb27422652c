"""A frozen text-to-image model learns new senses, and modules that were trained apart work together (EMMA on ELLA).

carrier = connect.TextCarrier.of(pipe)
style = connect.Modality.load(Path("style.safetensors"), carrier)
palette = connect.Modality.load(Path("palette.safetensors"), carrier)
stack = connect.Stack(carrier, [style, palette], weights={"style": 0.8})
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
from .modality import Features as Features
from .modality import Modality as Modality
from .reference import Reference as Reference
from .stack import Stack as Stack
from .weights import Weight as Weight
from .weights import Window as Window
from .weights import times_of as times_of
