"""Bad networks: a seeded model of one (model.py), and a proxy that puts it between a client and a server (proxy.py)."""
