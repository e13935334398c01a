"""SelfEQ: maps of phrases that mean the same should be the same."""
