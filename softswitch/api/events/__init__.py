"""What happens, told to those who listen: over WebSocket and by webhook."""
