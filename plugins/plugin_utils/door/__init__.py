"""The one door for what a node says: typed, bounded and closed."""
