"""Local execution: a warm fork server, one worker process a trial, supervision and logs."""
