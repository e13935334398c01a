"""AMC: maps are taught by boxes."""
