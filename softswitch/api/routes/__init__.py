"""The routes of the API, one noun a file. Each module has a `router`."""
