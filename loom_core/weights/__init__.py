"""Reading, checking, renaming and converting weights."""
