"""Where generations are looked up: each provider is a data file, read by one client."""
