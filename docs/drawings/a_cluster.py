"""Draw receivers on many machines: `python docs/drawings/a_cluster.py` writes the SVG beside this file."""

from __future__ import annotations

from pathlib import Path

from way_of_an_episode import STYLE, Box, way, zone

TARGET = Path(__file__).with_name("a-cluster.svg")
WIDTH, HEIGHT = 960, 400


def draw() -> str:
    """The drawing as SVG."""
    hosts = Box(40, 164, 150, "Lab hosts", ("PUT, or in pieces", "to one address"))
    balancer = Box(258, 164, 150, "HAProxy, Caddy", ("asks /v1/ready", "no stickiness"))
    receivers = [
        Box(
            480,
            60 + 104 * number,
            156,
            f"Receiver {number + 1}",
            ("copy of the index", "made anew if gone"),
            "key",
        )
        for number in range(3)
    ]
    primary = Box(716, 60, 200, "PostgreSQL", ("episodes, index lines", "and all other records"), "key")
    standby = Box(716, 164, 200, "Standby", ("synchronous: has each", "commit before the host", "is told"))
    store = Box(716, 268, 200, "Object store", ("episodes, under names", "that are never used twice"), "key")
    boxes = [hosts, balancer, *receivers, primary, standby, store]
    middle = balancer.right[1]
    ways = [way(hosts.right, balancer.left)]
    for receiver in receivers:
        y = receiver.left[1]
        bend = 444
        points = (
            [balancer.right, receiver.left]
            if y == middle
            else [
                balancer.right,
                (bend, middle),
                (bend, y),
                receiver.left,
            ]
        )
        ways.append(way(*points))
    trunk = 676
    for receiver in receivers:
        y = receiver.right[1]
        ways.append(f'<path class="way" d="M{receiver.right[0]} {y} L{trunk} {y}"/>')
    ways.append(way((trunk, receivers[1].right[1]), (trunk, primary.left[1]), primary.left))
    ways.append(way((trunk, receivers[1].right[1]), (trunk, store.left[1]), store.left))
    below = primary.y + primary.height
    ways.append(way((816, below), (816, standby.y), back=True))
    zones = [
        zone(24, 20, 400, 360, "the network"),
        zone(464, 20, 188, 360, "any number, all alike"),
        zone(700, 20, 232, 360, "what they share"),
    ]
    parts = "\n".join([*zones, *ways, *(box.svg() for box in boxes)])
    title = "Lab hosts ship by way of a load balancer to any of several receivers, which share PostgreSQL and a store"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">\n<title>{title}</title>\n'
        f"<style>{STYLE}</style>\n"
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="head" d="M0 0 L8 4 L0 8 z"/></marker></defs>\n'
        f"{parts}\n</svg>\n"
    )


if __name__ == "__main__":
    TARGET.write_text(draw())
