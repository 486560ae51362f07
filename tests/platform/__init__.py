"""The platform over real sockets: connections, requests, messages."""
