"""What outlives a request: videos of the spool, and sessions, jobs and leases, which are records in it."""
