"""The four transactions of RFC 3261 section 17."""
