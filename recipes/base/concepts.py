"""Which things are drawn, in which styles, and under which names.

Nine emoji sets draw the same things under different file names. A picture is joined to emojibase by code
point where its set lists code points, and by its squeezed name otherwise.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# style word -> (folder of the package, family). Styles of one family share one drawing.
STYLES = {
    "noto": ("iconify-json-noto", "noto"),
    "blob": ("iconify-json-noto-v1", "blob"),
    "twemoji": ("iconify-json-twemoji", "twemoji"),
    "emojione": ("iconify-json-emojione", "emojione"),
    "firefox": ("iconify-json-fxemoji", "firefox"),
    "shaded": ("iconify-json-fluent-emoji", "fluent"),
    "flat": ("iconify-json-fluent-emoji-flat", "fluent"),
    "high contrast": ("iconify-json-fluent-emoji-high-contrast", "fluent"),
    "3d": ("lobehub-fluent-emoji-3d", "fluent"),
}
EVERY_STYLE_NEEDED = 6

# Left out, because a small model would spend itself on them: symbols are mostly letters and arrows on a
# square, flags differ in details that 64 pixels cannot hold, clocks and men and women repeat one picture.
GROUPS_LEFT_OUT = ("symbols", "flags", "component")
LABELS_LEFT_OUT = re.compile(r"o’clock|-thirty$|^(man|woman|men|women)\b.")

# What the denoiser is taught. All the rest is drawn and encoded too, but with every concept at once the
# shapes stayed rough for as long as we trained; faces that differ in a brow and people with tools went first.
TAUGHT_GROUPS = ("animals-nature", "food-drink")
TAUGHT_SUBGROUPS = (
    "transport-ground", "transport-water", "transport-air", "sky-weather", "place-building", "sport", "event",
    "game", "musical-instrument", "clothing", "heart", "cat-face", "monkey-face", "face-smiling", "face-affection",
    "face-costume", "face-glasses", "face-hat",
)  # fmt: skip


@dataclass(frozen=True)
class Concept:
    """One thing that can be asked for, and the name it has in each style's package."""

    code: str
    label: str
    tags: tuple[str, ...]
    group: str
    subgroup: str
    names: dict[str, str]


def squeeze(name: str) -> str:
    """A name without case, accents or punctuation: what two sets agree on."""
    plain = unicodedata.normalize("NFKD", name.lower())
    return re.sub("[^a-z0-9]", "", plain)


def bare(code: str) -> str:
    """A code point sequence without the variation selector that sets treat differently."""
    return "-".join(part for part in code.lower().split("-") if part != "fe0f")


def taught(concept: Mapping[str, Any]) -> bool:
    """Whether the denoiser is taught a concept of `cells.json`."""
    return concept["group"] in TAUGHT_GROUPS or concept["subgroup"] in TAUGHT_SUBGROUPS


def read_concepts(packages: Path) -> list[Concept]:
    """Join the sets to emojibase and keep the concepts that are drawn in enough styles."""
    base = packages / "emojibase-data"
    entries = json.loads((base / "en/data.json").read_text())
    titles = json.loads((base / "meta/groups.json").read_text())
    by_code = {bare(entry["hexcode"]): entry for entry in entries}
    by_name = {squeeze(entry["label"]): entry for entry in entries}

    charts: dict[str, dict[str, str]] = {}
    for style, (folder, _) in STYLES.items():
        chart = packages / folder / "chars.json"
        charts[style] = json.loads(chart.read_text()) if chart.exists() else {}
        for code, name in charts[style].items():
            if bare(code) in by_code:
                by_name.setdefault(squeeze(name), by_code[bare(code)])

    names: dict[str, dict[str, str]] = {entry["hexcode"]: {} for entry in entries}
    for style, (folder, _) in STYLES.items():
        if style == "3d":
            found = {path.name: path.stem for path in sorted((packages / folder / "assets").glob("*.webp"))}
        else:
            icons = json.loads((packages / folder / "icons.json").read_text())
            found = dict.fromkeys([*icons["icons"], *icons.get("aliases", {})], "")
            found |= {name: code for code, name in charts[style].items() if name in found}
        for name, code in found.items():
            entry = by_code.get(bare(code)) or by_name.get(squeeze(name))
            if entry is not None:
                names[entry["hexcode"]].setdefault(style, name)

    concepts = []
    for entry in entries:
        group = titles["groups"].get(str(entry.get("group")), "component")
        drawn = names[entry["hexcode"]]
        if group in GROUPS_LEFT_OUT or LABELS_LEFT_OUT.search(entry["label"]) or len(drawn) < EVERY_STYLE_NEEDED:
            continue
        subgroup = titles["subgroups"][str(entry["subgroup"])]
        tags = tuple(tag for tag in entry.get("tags", ()) if tag not in entry["label"])
        concepts.append(Concept(entry["hexcode"], entry["label"], tags, group, subgroup, drawn))
    return concepts
