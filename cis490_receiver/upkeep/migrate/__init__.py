"""Move everything that a receiver keeps to another place, while it goes on.

The order of the steps, which is the promise::

    copy: for each line of the index, in its order: the episode's bytes, verified  →  the line    (again and again)
    →  close the origin: nothing is acknowledged there any more
    →  copy what came meanwhile, and all records  →  compare
    →  open the destination: from here on episodes are acknowledged there

A crash at any point leaves one place at most that takes episodes: the origin before it is closed, the destination after
it is opened, none in between. Whoever runs it again goes on.

The lines are copied byte for byte, and the index keeps its generation, so that a follower goes on at its offset.
"""
