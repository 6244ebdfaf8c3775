"""Protocol-neutral call control."""
