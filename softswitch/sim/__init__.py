"""Public test kit: the exchange on virtual time."""
