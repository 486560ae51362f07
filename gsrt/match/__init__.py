"""Who plays with whom: thresholds on skill, conditions on data, and the matchmaker that applies them. Nothing here
knows a clock, a socket or a store."""
