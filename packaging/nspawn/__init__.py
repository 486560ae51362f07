"""The package on a real systemd, in a container: `make systemd-test`."""
