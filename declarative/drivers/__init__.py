"""Adapters to engines: what is, and how one action is done. `port` is the contract."""
