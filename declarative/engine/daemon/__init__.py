"""The daemon: the Docker Engine API over sockets, one file per noun."""
