"""SIP, sans-IO, in the order of RFC 3261."""
