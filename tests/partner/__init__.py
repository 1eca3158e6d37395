"""Another company's system, as its own people would write it: nothing of ours is imported here."""
