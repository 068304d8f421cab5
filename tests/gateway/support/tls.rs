//! TLS for tests: a certificate made on the spot, and clients that trust it alone.
