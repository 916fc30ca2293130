"""Certificate authorities, credentials and the store that keeps a fleet of them."""
