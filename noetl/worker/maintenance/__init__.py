"""The duties of a worker beside its jobs: leases, promotion, expiry, partitions, files."""
