"""RTP family on the wire, over arrays; pure."""
