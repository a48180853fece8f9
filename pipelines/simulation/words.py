"""What a simulated town talks about: topics of contents, origins, kinds of goods. Fixed, so that figures compare."""

from __future__ import annotations

from dataclasses import dataclass

ORIGINS = ("Domestic", "Korea", "Italy", "Mexico", "Japan", "India", "France", "Turkey")
ADJECTIVES = ("", "Korean", "Italian", "Mexican", "Japanese", "Indian", "French", "Turkish")


@dataclass(frozen=True)
class Topic:
    """What a content is about, and which goods its watchers may come to like.

    Attributes:
        name: the tag that contents bear.
        origin: index of the goods' origin, or -1.
        roots: roots of category paths, where it is about a kind of goods.
        tag: the tag that those goods bear.
    """

    name: str
    origin: int
    roots: tuple[str, ...]
    tag: str


TOPICS = (
    Topic("korean-drama", 1, (), "korean"),
    Topic("italian-cooking", 2, (), "italian"),
    Topic("telenovela", 3, (), "mexican"),
    Topic("anime", 4, (), "japanese"),
    Topic("bollywood", 5, (), "indian"),
    Topic("french-cinema", 6, (), "french"),
    Topic("turkish-series", 7, (), "turkish"),
    Topic("baking", -1, ("Bakery",), "baking"),
    Topic("fitness", -1, ("Care",), "fitness"),
    Topic("gardening", -1, ("Garden",), "gardening"),
    Topic("parenting", -1, ("Baby",), "parenting"),
    Topic("pets", -1, ("Pets",), "pets"),
    Topic("gaming", -1, ("Snacks",), "gaming"),
)

# Root: its kinds, and how long one purchase lasts against the average.
GOODS: dict[str, tuple[tuple[str, ...], float]] = {
    "Dairy": (("Milk", "Cheese", "Yoghurt", "Butter"), 0.6),
    "Bakery": (("Bread", "Cakes", "Flour", "Biscuits"), 0.7),
    "Produce": (("Fruit", "Vegetables", "Salad", "Herbs"), 0.6),
    "Pantry": (("Noodles", "Rice", "Sauces", "Oil", "Spices", "Soup"), 1.1),
    "Drinks": (("Juice", "Wine", "Tea", "Coffee", "Beer", "Water"), 0.9),
    "Snacks": (("Crisps", "Chocolate", "Nuts", "Sweets"), 0.8),
    "Frozen": (("Pizza", "Dumplings", "Ice cream", "Fish"), 1.0),
    "Care": (("Shampoo", "Remedies", "Vitamins", "Soap"), 1.8),
    "Household": (("Detergent", "Paper", "Candles", "Storage"), 1.7),
    "Baby": (("Nappies", "Formula", "Toys"), 0.9),
    "Pets": (("Cat food", "Dog food"), 0.9),
    "Garden": (("Seeds", "Tools"), 2.2),
}
AGE_RESTRICTED = {"Wine", "Beer"}
SENSITIVE = {"Remedies"}

SYLLABLES = (
    "ba", "bel", "cor", "da", "del", "fen", "ga", "han", "ira", "jo", "ka", "lo", "lum", "ma", "mir", "na", "nor", "o",
    "pa", "qui", "ra", "ren", "sa", "sol", "ta", "tor", "u", "va", "ven", "wa", "yo", "za",
)  # fmt: skip
CITIES = ("Northport", "Elmbridge", "Saltford", "Hillmouth", "Redwater", "Ashby")
AGE_BANDS = ("18-29", "30-44", "45-59", "60+")
HOUSEHOLDS = ("single", "couple", "family", "shared")


def kinds() -> list[tuple[str, str]]:
    """(root, kind) of all goods, root after root in turn, so that the first few cover many roots."""
    longest = max(len(names) for names, _ in GOODS.values())
    return [(root, names[turn]) for turn in range(longest) for root, (names, _) in GOODS.items() if turn < len(names)]
