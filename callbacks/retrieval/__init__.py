"""How a whole set is searched: what is collected of it, its index, and the second look at candidates."""
