"""S3-compatible object storage: the farm's only durable state."""
