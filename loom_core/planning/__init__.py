"""How much memory a run takes and how it fits a card: arithmetic alone, without torch."""
