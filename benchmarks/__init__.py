"""What bin/bench runs: the receiver beside two peers, in turns, on this machine. docs/performance.md has the method."""
