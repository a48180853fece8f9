"""Features of the second stage: of a shopper and an item, of each alone, and of content, stores and promotions.

All are computed from a `Past`, which holds nothing but what was known before its cut.
"""
