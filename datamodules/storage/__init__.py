"""How data lies on disk: images, masks, archives, shards, indexes and caches."""
