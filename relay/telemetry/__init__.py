"""What is known of calls: record, recorder, metrics, usage, access log, prices."""
