"""Several processes that train one network: ranks, what they exchange, and how a batch is cut over them.

Internal: its names may change.
"""
