"""Signal processing, vectorised over streams; pure."""
