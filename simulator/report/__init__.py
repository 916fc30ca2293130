"""Reports: a pure function of the data that a run saved."""
