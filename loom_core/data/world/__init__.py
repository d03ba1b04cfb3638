"""A procedural world of coloured shapes: clips, exact captions, edits and references with known right answers."""
