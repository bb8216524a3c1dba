"""Model cards, the zoo, networks and the bundle file. Only cards and library can do without torch."""

from aegui.models.card import Card
from aegui.models.library import DEFAULT, card_of, cards, require_trained

__all__ = ["DEFAULT", "Card", "card_of", "cards", "require_trained"]
