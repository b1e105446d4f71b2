"""The duties of a worker beside its jobs, one module each; `thread` runs them, in the order and intervals listed there.

No duty needs a leader: every worker has all of them, each is bounded, and whoever is alive does what is due.
"""
