"""Where shards run, and the coordinator that owns a run."""
