"""Ask git, for both ends: the receiver's gate and the lab host's clone.

What is about the gate's window stands in upkeep/gate_clone.py, what is about FIXYOURSELF.md in client/clone.py.
"""
