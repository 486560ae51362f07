"""The compiled relay, driven by hand: real sockets, the test's own clock."""
