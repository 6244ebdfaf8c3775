"""Softswitch media plane: RTP streams as numpy arrays. Part of the project Softswitch."""
