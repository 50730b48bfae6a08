"""Two workers of Celery as on two machines: their homes and users differ, and they share three servers alone."""
