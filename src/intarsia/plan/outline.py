"""What a host is made of and what each piece costs, for one stated input size. Torch-free data.

Sites come in levels: *unit* sites are the nodes of the host's data flow and say whom they read; *block*, *layer*,
*pair* and *stage* sites are groups of units; *subunit* sites lie inside one unit. What `Keep` keeps are a site's
own equal pieces: channels, heads, answers; or the one that is a whole block.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Literal

Level = Literal["block", "layer", "pair", "stage", "unit", "subunit"]
Contract = Literal["identity", "zero", "cut", "never"]

HOST = "host"  # the host's own name in rules; no wildcard matches it


@dataclass(frozen=True)
class Site:
    """A named place in a host where something may be decided.

    Attributes:
        path: Its name: a module path, or a name that the host gives to a group.
        level: `unit` for a node of the data flow, `subunit` for a piece inside one, else a group of units.
        macs: Multiply-accumulates of one call, everything inside included, attention products too.
        params: Parameters inside it.
        output_bytes: Size of what it hands on, in the precision the outline was read in. 0 for groups.
        skip: What not running means here: its input passes, it adds nothing, it is cut out, or `never`.
        shortcut_macs: What its identity path costs, the way in which its input reaches its output without it;
            None if it has none. A site with one can be reused with `carry: residual`.
        reads: For units, the units whose outputs it takes in.
        parts: For groups, the units it is made of; for units, the subunits inside.
        units: How many equal pieces (groups of channels, attention heads, answers) `Keep` may choose from; 1 for a
            block that a supernet may skip; 0 for none.
    """

    path: str
    level: Level
    macs: int = 0
    params: int = 0
    output_bytes: int = 0
    skip: Contract = "never"
    shortcut_macs: int | None = None
    reads: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    units: int = 0


@dataclass(frozen=True)
class Price:
    """What one unit costs, or one pair of units of two sites, where one site's units read the other's.

    Attributes:
        kept: The sites whose kept units multiply the price: one or two.
        macs, params, bytes: For one unit of each; bytes are those of parameters and buffers.
    """

    kept: tuple[str, ...]
    macs: int = 0
    params: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Outline:
    """The sites of one host at one input size.

    Attributes:
        host: The kind of host, such as `diffusers/unet-2d-condition`.
        inputs: The input shapes that the costs hold for, by name.
        macs: Of one whole call.
        params: Of the whole host.
        sites: In the order in which the host runs them; groups before their parts.
        root: The unit whose output is the host's.
        prices: What of the costs depends on the units that sites keep.
        bytes: Of all parameters and buffers; 0 where nobody asked.
    """

    host: str
    inputs: dict[str, tuple[int, ...]]
    macs: int
    params: int
    sites: tuple[Site, ...]
    root: str
    prices: tuple[Price, ...] = ()
    bytes: int = 0
    by_path: dict[str, Site] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_path", {site.path: site for site in self.sites})

    def of_level(self, *levels: Level) -> tuple[Site, ...]:
        """The sites of these levels, in running order."""
        return tuple(site for site in self.sites if site.level in levels)

    @cached_property
    def readers(self) -> dict[str, frozenset[str]]:
        """For each unit, the units that take in its output."""
        found: dict[str, set[str]] = {unit.path: set() for unit in self.of_level("unit")}
        for unit in self.of_level("unit"):
            for source in unit.reads:
                found[source].add(unit.path)
        return {path: frozenset(readers) for path, readers in found.items()}

    @cached_property
    def within(self) -> dict[str, frozenset[str]]:
        """For each site, the other sites that lie wholly inside it."""
        units = {
            site.path: frozenset(site.parts if site.level not in ("unit", "subunit") else (site.path,))
            for site in self.sites
        }
        subunits = {part: site.path for site in self.of_level("unit") for part in site.parts}
        inside: dict[str, frozenset[str]] = {}
        for site in self.sites:
            if site.level == "subunit":
                inside[site.path] = frozenset()
                continue
            covered = {path for path, parts in units.items() if parts <= units[site.path]}
            covered |= {part for part, unit in subunits.items() if unit in units[site.path]}
            inside[site.path] = frozenset(covered - {site.path})
        return inside

    @cached_property
    def shape_hash(self) -> str:
        """Names the structure whatever the input size: two hosts with equal hashes take the same plans."""
        structure: list[tuple] = [
            (
                site.path,
                site.level,
                site.params,
                site.skip,
                site.reads,
                site.parts,
                *((site.units,) if site.units else ()),
            )
            for site in self.sites
        ]
        return hashlib.sha256(json.dumps([self.host, structure]).encode()).hexdigest()[:12]

    def leaving(self, group: Iterable[str]) -> tuple[str, ...]:
        """The units of a group whose outputs are read outside it."""
        inside = frozenset(group)
        return tuple(path for path in group if path == self.root or self.readers[path] - inside)

    def to_json(self) -> dict:
        """As plain data; `from_json` undoes it. Hosts without units to keep say nothing of them."""
        kept = asdict(self)
        del kept["by_path"]
        for name in ("prices", "bytes"):
            if not kept[name]:
                del kept[name]
        for site in kept["sites"]:
            if not site["units"]:
                del site["units"]
        return kept

    @classmethod
    def from_json(cls, data: dict) -> "Outline":
        """From plain data, lists for tuples as JSON has them."""
        sites = tuple(
            Site(**{**site, "reads": tuple(site["reads"]), "parts": tuple(site["parts"])}) for site in data["sites"]
        )
        inputs = {name: tuple(shape) for name, shape in data["inputs"].items()}
        prices = tuple(Price(**{**price, "kept": tuple(price["kept"])}) for price in data.get("prices", ()))
        return cls(**{**data, "inputs": inputs, "sites": sites, "prices": prices})
