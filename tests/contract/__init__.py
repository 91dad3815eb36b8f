"""What `storage.base`, `index.base` and `state.base` promise, asked of every implementation that there is.

A second implementation is one more class in `places.IMPLEMENTATIONS`; no test here knows what one is made of.
"""
