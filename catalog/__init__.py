"""The durable records of videos and the order in which they are written."""
