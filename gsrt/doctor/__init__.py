"""`gsrt doctor`: what is wrong with the box, its network and its server, and what to do about it.

A check is a function from Surroundings (what can be found out) to a Finding (what was found). It runs in the process of
the command, never in that of a server."""
