"""Why an item is on a slate: codes that are true of the data behind them. Pages turn them into words."""

from enum import StrEnum


class Reason(StrEnum):
    """Reason code of one recommended item."""

    BOUGHT_BEFORE = "bought_before"  # this shopper bought this item
    SIMILAR_TASTE = "similar_taste"  # a learned model scores it high for this shopper, who never bought it
    POPULAR = "popular"  # among the best sold of the chain
    POPULAR_IN_STORE = "popular_in_store"  # among the best sold of this store
    POPULAR_IN_NEIGHBOURHOOD = "popular_in_neighbourhood"  # among the best sold to shoppers whose home store this is
    REQUESTED = "requested"  # the caller asked for this item to be ranked, and nothing more is known of it
    IN_ASSORTMENT = "in_assortment"  # the shop carries it, nothing better may be shown, and nothing more is known of it
    DUE_AGAIN = "due_again"  # this shopper bought this item, and by its usual interval needs it again
    GOES_WITH = "goes_with"  # often bought together with an item that this shopper bought
    WATCHED = "watched"  # linked to content that this shopper watched
    MAKER_YOU_LIKE = "maker_you_like"  # this shopper buys this maker's goods more than others do
    NEW_IN_CATEGORY = "new_in_category"  # new in the shop, in a category that this shopper buys
