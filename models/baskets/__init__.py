"""Baskets: a log of purchases by visit, what may be known of it at a visit, and what is computed from that."""
