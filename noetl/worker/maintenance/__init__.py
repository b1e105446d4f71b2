"""The duties of a worker beside its jobs: leases, promotion, timeouts, partitions, files."""
