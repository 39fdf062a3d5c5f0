"""One file for each change of `hub.tables`, oldest first."""
