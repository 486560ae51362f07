"""A connection's way in: what its first bytes mean, TLS, the certificate, the control socket."""
