"""What do the facts say? Who went silent, who is refused every time, what ails the receiver itself.

May import `policy` and the small modules; of storage and index only `base`.
"""
