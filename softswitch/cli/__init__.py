"""The command softswitch."""
