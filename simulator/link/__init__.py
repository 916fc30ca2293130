"""The only place that opens sockets: TCP and TLS, non-blocking, timed apart."""
