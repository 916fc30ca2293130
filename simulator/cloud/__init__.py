"""The cloud's side of a run: an observer that hears what devices say, and a sender of commands."""
