"""Draw the way of an episode: `python docs/drawings/way_of_an_episode.py` writes the SVG beside this file."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

TARGET = Path(__file__).with_name("way-of-an-episode.svg")
WIDTH, HEIGHT = 960, 400

STYLE = """
  svg { color-scheme: light dark; font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
  .zone { fill: #f3f5f8; } .box { fill: #ffffff; stroke: #c6ced9; } .key { fill: #e6f0ff; stroke: #3b74c4; }
  .title { font-size: 13px; font-weight: 600; fill: #5b6675; }
  .name { font-size: 14px; font-weight: 600; fill: #1c2430; }
  .note { font-size: 12px; fill: #5b6675; } .way { fill: none; stroke: #3b74c4; stroke-width: 2; }
  .back { stroke-dasharray: 5 4; } .head { fill: #3b74c4; }
  .said { font-size: 12px; font-weight: 600; fill: #2a5aa0; }
  @media (prefers-color-scheme: dark) {
    .zone { fill: #161c25; } .box { fill: #1f2733; stroke: #3a4656; } .key { fill: #1b2f4d; stroke: #6ea2ec; }
    .title, .note { fill: #9aa7b8; } .name { fill: #e8edf4; } .way { stroke: #6ea2ec; } .head { fill: #6ea2ec; }
    .said { fill: #9cc2f7; }
  }
"""


@dataclass(frozen=True)
class Box:
    """A rounded box with a name and lines below it."""

    x: int
    y: int
    width: int
    name: str
    notes: tuple[str, ...] = ()
    kind: str = "box"

    @property
    def height(self) -> int:
        return 34 + 17 * len(self.notes)

    @property
    def right(self) -> tuple[int, int]:
        return self.x + self.width, self.y + self.height // 2

    @property
    def left(self) -> tuple[int, int]:
        return self.x, self.y + self.height // 2

    def svg(self) -> str:
        lines = [
            f'<rect class="{self.kind}" x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" rx="8"/>',
            f'<text class="name" x="{self.x + 14}" y="{self.y + 22}">{escape(self.name)}</text>',
        ]
        lines += [
            f'<text class="note" x="{self.x + 14}" y="{self.y + 41 + 17 * number}">{escape(note)}</text>'
            for number, note in enumerate(self.notes)
        ]
        return "\n".join(lines)


def zone(x: int, y: int, width: int, height: int, title: str) -> str:
    """A part of the world, with its name on top."""
    return (
        f'<rect class="zone" x="{x}" y="{y}" width="{width}" height="{height}" rx="12"/>\n'
        f'<text class="title" x="{x + 16}" y="{y + 24}">{escape(title)}</text>'
    )


def way(*points: tuple[int, int], said: str = "", at: tuple[int, int] = (0, 0), back: bool = False) -> str:
    """A line with a head at its end, and what is said on it."""
    path = "M" + " L".join(f"{x} {y}" for x, y in points)
    text = (
        f'\n<text class="said" x="{at[0]}" y="{at[1]}" text-anchor="middle">{escape(said)}</text>'
        if said
        else ""
    )
    return f'<path class="way{" back" if back else ""}" d="{path}" marker-end="url(#head)"/>{text}'


def drawing() -> str:
    """The whole of it."""
    recorder = Box(36, 62, 168, "recorder", ("writes run.tar.zst",))
    shipper = Box(36, 148, 168, "cis490-shipper", ("reads it to its end,", "hashes, retries"))
    doctor = Box(36, 264, 168, "cis490-doctor", ("checks the host,", "reports daily"))
    admit = Box(316, 62, 172, "may it come in?", ("token, name, headers,", "version gate, space"), "key")
    write = Box(316, 160, 172, "incoming/", ("write, hash, sync",), "key")
    publish = Box(316, 234, 172, "episodes/", ("name it, sync the folder",), "key")
    append = Box(316, 308, 172, "index.jsonl", ("one line, synced",), "key")
    monitor = Box(516, 264, 180, "health-check", ("every 5 minutes: silent,", "refused, damaged, full"))
    catalog = Box(516, 62, 180, "pages and API", ("listings, filters, metrics",))
    people = Box(772, 264, 156, "the maintainer", ("sleeps until told",))
    mirror = Box(772, 62, 156, "mirror, export", ("every byte verified",))
    boxes = (recorder, shipper, doctor, admit, write, publish, append, monitor, catalog, people, mirror)
    parts = [
        zone(20, 20, 200, 332, "lab host"),
        zone(300, 20, 412, 360, "receiver"),
        zone(756, 20, 188, 332, "people and trainers"),
        *(box.svg() for box in boxes),
        way((120, 113), (120, 146)),
        way((204, 178), (258, 178), (258, 96), (314, 96), said="PUT", at=(258, 88)),
        way((204, 298), (280, 298), (280, 112), (314, 112)),
        way((402, 130), (402, 158)),
        way((402, 211), (402, 232)),
        way((402, 285), (402, 306)),
        way(
            (316, 342),
            (240, 342),
            (240, 192),
            (206, 192),
            said="201, after all syncs",
            at=(232, 372),
            back=True,
        ),
        way((488, 350), (606, 350), (606, 334)),
        way((488, 322), (502, 322), (502, 88), (514, 88)),
        way((696, 290), (770, 290)),
        way((696, 88), (770, 88)),
    ]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-labelledby="title">\n'
        '<title id="title">The way of an episode: from the recorder of a lab host through the receiver to a trainer'
        f"</title>\n<style>{STYLE}</style>\n"
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path class="head" d="M0 0 L8 4 L0 8 z"/></marker></defs>\n'
        f"{body}\n</svg>\n"
    )


if __name__ == "__main__":
    TARGET.write_text(drawing(), encoding="utf-8")
