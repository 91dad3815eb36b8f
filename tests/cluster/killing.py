"""Kill whatever a cluster is made of while episodes are shipped, and see whether all that was acknowledged is there.

Run it for long by hand: ``python -m tests.cluster.killing --acknowledged 5000 --kills 50``. With ``--asynchronous`` the
standby is told of commits after the client, and what was acknowledged is lost.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

from tests.cluster.running import Cluster
from tests.cluster.shipping import Shipping, Trial
from tests.support import failover, objects, postgres

FAIL_OVER = "primary, the standby promoted"
#: What is killed, and how often in comparison.
KINDS = {"receiver": 5, FAIL_OVER: 3, "primary, started again": 1, "standby": 1, "store": 2}


class Killing:
    """One trial on `cluster`, whose database is `pair`, and whose objects `store` keeps."""

    def __init__(self, cluster: Cluster, pair: failover.Pair, store: objects.Process, seed: int) -> None:
        self.cluster = cluster
        self.pair = pair
        self.store = store
        self.choose = random.Random(seed)

    def run(self, acknowledged: int, kills: int, kinds: Collection[str] = tuple(KINDS)) -> Trial:
        """Go on until there were so many of both; of `kills`, each of `kinds` at least once."""
        shipping = Shipping(self.cluster)
        killed = shipping.trial.kills
        with shipping.going_on():
            for kind in self._order(kills, kinds):
                time.sleep(self.choose.uniform(0.05, 0.4))
                self._kill(kind)
                killed[kind] = killed.get(kind, 0) + 1
            shipping.wait_for(acknowledged)
        shipping.check()
        return shipping.trial

    def _order(self, kills: int, kinds: Collection[str]) -> list[str]:
        more = self.choose.choices(list(kinds), [KINDS[kind] for kind in kinds], k=kills - len(kinds))
        order = [*kinds, *more]
        self.choose.shuffle(order)
        return order

    def _kill(self, kind: str) -> None:
        if kind == "receiver":
            self._kill_receiver()
        elif kind == FAIL_OVER:
            self.pair.fail_over(self.choose)
        elif kind == "primary, started again":
            self._kill_for_a_moment(self.pair.primary)
        elif kind == "standby":
            self._kill_for_a_moment(self.pair.standby)
        else:
            self._kill_for_a_moment(self.store)

    def _kill_receiver(self) -> None:
        receiver = self.choose.choice(self.cluster.receivers)
        receiver.kill()
        receiver.start()

    def _kill_for_a_moment(self, part: objects.Process | postgres.Server) -> None:
        part.kill()
        time.sleep(self.choose.uniform(0, 0.5))
        part.start()


def try_it(
    folder: Path,
    acknowledged: int,
    kills: int,
    seed: int,
    *,
    kinds: Collection[str] = tuple(KINDS),
    replication: str = failover.SYNCHRONOUS,
) -> Trial:
    """A trial of parts of its own, which keep what they keep in `folder`."""
    store, pair = objects.seaweedfs_process(folder / "store"), failover.Pair(replication)
    try:
        store.start()
        cluster = Cluster(folder, store.server, pair.migrated())
        try:
            cluster.start()
            return Killing(cluster, pair, store, seed).run(acknowledged, kills, kinds)
        finally:
            cluster.end()
    finally:
        store.kill()
        pair.remove()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--acknowledged", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--asynchronous",
        dest="replication",
        action="store_const",
        const=failover.ASYNCHRONOUS,
        default=failover.SYNCHRONOUS,
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trial = try_it(
            Path(folder),
            arguments.acknowledged,
            arguments.kills,
            arguments.seed,
            replication=arguments.replication,
        )
    print(f"acknowledged {len(trial.acknowledged)}, kills {trial.kills}, answers {trial.answers}")
    print("\n".join(trial.lost) or "nothing is lost")
    raise SystemExit(bool(trial.lost))


if __name__ == "__main__":
    main()
