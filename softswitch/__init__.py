"""Softswitch: a SIP/RTP telephone exchange and call centre."""
