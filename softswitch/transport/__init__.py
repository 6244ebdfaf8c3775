"""Sockets: the only part that touches the network."""
